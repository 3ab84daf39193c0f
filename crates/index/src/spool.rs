//! Work lists of any length in bounded memory: kept in a buffer, then in a temporary file.

use lastcopy_fs::RelPath;
use lastcopy_store::{ContentId, FileId};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use tempfile::SpooledTempFile;

/// From this size on, a list moves to a temporary file.
const IN_MEMORY: usize = 4 << 20;

/// A file that has to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) directory: RelPath,
    pub(crate) name: Vec<u8>,
    /// Its size when the walk saw it; decides how it is read.
    pub(crate) size: u64,
    /// The row of what was present there.
    pub(crate) present: Option<(FileId, ContentId)>,
}

/// A list of candidates, written once and then read once. One directory's candidates stand together, and name it once.
#[derive(Debug)]
pub(crate) struct Spool {
    file: SpooledTempFile,
    last: Option<RelPath>,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl Spool {
    pub(crate) fn new() -> Self {
        Self { file: SpooledTempFile::new(IN_MEMORY), last: None, count: 0, bytes: 0 }
    }

    pub(crate) fn push(
        &mut self,
        directory: &RelPath,
        name: &[u8],
        size: u64,
        present: Option<(FileId, ContentId)>,
    ) -> io::Result<()> {
        let mut record = Vec::with_capacity(64 + name.len());
        if self.last.as_ref() == Some(directory) {
            record.push(0);
        } else {
            record.push(1);
            put_bytes(&mut record, directory.as_bytes());
            self.last = Some(directory.clone());
        }
        put_bytes(&mut record, name);
        record.extend_from_slice(&size.to_le_bytes());
        let (file, content) = present.map_or((0, 0), |(file, content)| (file.get(), content.get()));
        record.extend_from_slice(&file.to_le_bytes());
        record.extend_from_slice(&content.to_le_bytes());
        self.file.write_all(&record)?;
        self.count += 1;
        self.bytes += size;
        Ok(())
    }

    /// Reads the list from its start.
    pub(crate) fn into_candidates(mut self) -> io::Result<Candidates> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(Candidates { file: BufReader::new(self.file), left: self.count, directory: RelPath::root() })
    }
}

/// The candidates of a spool, one by one.
pub(crate) struct Candidates {
    file: BufReader<SpooledTempFile>,
    left: u64,
    directory: RelPath,
}

impl Iterator for Candidates {
    type Item = io::Result<Candidate>;

    fn next(&mut self) -> Option<io::Result<Candidate>> {
        self.left = self.left.checked_sub(1)?;
        Some(self.read())
    }
}

impl Candidates {
    fn read(&mut self) -> io::Result<Candidate> {
        if self.byte()? == 1 {
            self.directory = RelPath::new(self.bytes()?).map_err(io::Error::other)?;
        }
        let name = self.bytes()?;
        let size = u64::from_le_bytes(self.array()?);
        let (file, content) = (i64::from_le_bytes(self.array()?), i64::from_le_bytes(self.array()?));
        let present = (file != 0).then(|| (FileId::spooled(file), ContentId::spooled(content)));
        Ok(Candidate { directory: self.directory.clone(), name, size, present })
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        self.file.read_exact(&mut array)?;
        Ok(array)
    }

    fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; u32::from_le_bytes(self.array()?) as usize];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn put_bytes(record: &mut Vec<u8>, bytes: &[u8]) {
    // Names and paths are bounded by the file system far below 4 GiB.
    record.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    record.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_written() {
        let mut spool = Spool::new();
        let directory = |number: u32| RelPath::new(format!("d{}", number / 3)).expect("legal");
        for number in 0..200_000u32 {
            let present = (number % 2 == 0).then(|| (FileId::spooled(i64::from(number) + 1), ContentId::spooled(7)));
            let name = format!("file {number}\n").into_bytes();
            spool.push(&directory(number), &name, u64::from(number), present).expect("write");
        }
        assert_eq!(spool.count, 200_000);
        for (number, candidate) in (0..).zip(spool.into_candidates().expect("seek")) {
            let candidate = candidate.expect("read");
            assert_eq!(candidate.directory, directory(number));
            assert_eq!(candidate.name, format!("file {number}\n").into_bytes());
            assert_eq!(candidate.size, u64::from(number));
            assert_eq!(candidate.present.is_some(), number % 2 == 0);
        }
    }
}
