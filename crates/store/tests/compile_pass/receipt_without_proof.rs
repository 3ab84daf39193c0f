//! What a receipt is recorded from comes of a proof, whose making reads the bytes.

use lastcopy_fs::Content;
use lastcopy_store::{Method, Proof, ProofError, Proven, ReadBack};

fn proven(content: Content, stored: &[u8]) -> Result<(Method, Proven), ProofError> {
    let proof: Proof<ReadBack> = Proof::read_stream(content, stored)?;
    Ok((Method::ReadBack, proof.into()))
}

fn main() {}
