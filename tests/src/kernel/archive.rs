//! The archive format of an initial file system (cpio "newc"): a header of hexadecimal numbers, the name
//! and the content, each filled up to four bytes.

/// Where the next entry may begin, and content after its name.
const ALIGNMENT: usize = 4;
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive that is being written.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: usize,
}

impl Archive {
    /// Adds a folder. Those it lies in come before it.
    pub(super) fn folder(&mut self, path: &str) {
        self.entry(path, FOLDER, &[]);
    }

    /// Adds a file that can be executed.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, PROGRAM, content);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        // Inode, mode, uid, gid, links, mtime, size, device and referred device (two numbers each),
        // length of the name with its final zero, and a checksum that this variant leaves at zero.
        let (mode, size, name) = (usize::try_from(mode).expect("16 bits"), content.len(), path.len() + 1);
        let numbers = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name, 0];
        self.bytes.extend(b"070701");
        self.bytes.extend(numbers.iter().flat_map(|number| format!("{number:08x}").into_bytes()));
        self.bytes.extend(path.bytes().chain([0]));
        self.fill();
        self.bytes.extend(content);
        self.fill();
    }

    fn fill(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_reads_back() {
        let mut archive = Archive::default();
        archive.folder("bin");
        archive.file("bin/odd", b"12345");
        archive.file("empty", b"");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % ALIGNMENT, 0);
        assert_eq!(
            entries(&bytes),
            [("bin", FOLDER, &b""[..]), ("bin/odd", PROGRAM, b"12345"), ("empty", PROGRAM, b"")]
        );
    }

    /// Reads as the kernel does: every position follows from the numbers in the headers.
    fn entries(mut bytes: &[u8]) -> Vec<(&str, u32, &[u8])> {
        let mut found = Vec::new();
        loop {
            let number = |index: usize| {
                let text = std::str::from_utf8(&bytes[6 + 8 * index..][..8]).expect("digits");
                u32::from_str_radix(text, 16).expect("a hexadecimal number")
            };
            assert_eq!(&bytes[..6], b"070701");
            let (mode, size, name) = (number(1), number(6) as usize, number(11) as usize);
            let path = std::str::from_utf8(&bytes[110..110 + name - 1]).expect("a name");
            if path == TRAILER {
                return found;
            }
            let content = (110 + name).next_multiple_of(ALIGNMENT);
            found.push((path, mode, &bytes[content..content + size]));
            bytes = &bytes[(content + size).next_multiple_of(ALIGNMENT)..];
        }
    }
}
