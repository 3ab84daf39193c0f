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
         ## The offload gate: when a local copy may go\n\n\
         What each lock of a destination wants; `explain` shows them as open (`✓`), closed (`✗`), or with nothing to judge (`·`).\n\n\
         | lock | open while | what opens it |\n|---|---|---|\n\
         | incarnation | who answered last at the destination is who was accepted there | bring it back; `destination init` or `adopt` |\n\
         | alarm | no alarm stands on the destination, or on the content there | `alarms` |\n\
         | coverage | a push of this volume there was complete | `sync` |\n\
         | freshness | the last complete push there is no older than the file | `sync` |\n\
         | receipt | the destination said that it holds the content, and was not found to have lost it | `sync` |\n\
         | method | that was proven, by a method that the policy accepts | `verify` |\n\
         | age | the last proof is no older than `max_evidence_age`, nor from a time to come | `verify` |\n\n{}",
        lastcopy_store::run_gate_table(),
        lastcopy_offload::offload_gate_table()
    )
}
