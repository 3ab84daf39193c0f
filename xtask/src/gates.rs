//! Both gate tables, as the code has them.

/// The tables with what their letters mean, as Markdown.
pub(crate) fn render() -> String {
    format!(
        "# The two gates\n\nGenerated from the code that decides by `cargo xtask references`; do not edit.\n\n\
         ## The run gate: which runs may not go on at the same time\n\n\
         A run that is to begin (row) is refused while another one (column) goes on\n\n\
         - `V`: on the same volume,\n\
         - `D`: on the same destination,\n\
         - `P`: on the same volume and destination,\n\
         - `R`: where the offload's policy requires the other's destination,\n\
         - `·`: never.\n\n\
         {}\n\
         ## The offload gate: when a local copy may go\n\n{}",
        lastcopy_store::run_gate_table(),
        lastcopy_offload::offload_gate_table()
    )
}
