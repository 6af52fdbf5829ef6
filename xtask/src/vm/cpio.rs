//! An archive in the `newc` format of cpio, as the kernel unpacks it into its first root file system
//! (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER: u32 = 0o020_000;

/// Writes entries one after the other. Call [`Archive::finish`] at the end: without the trailer the kernel refuses
/// the archive.
///
/// Names are relative to the root, without a leading slash. A directory must come before what is in it.
pub struct Archive<W: Write> {
    out: W,
    written: usize,
    inode: u32,
}

impl<W: Write> Archive<W> {
    /// Starts an empty archive.
    pub fn new(out: W) -> Self {
        Self { out, written: 0, inode: 0 }
    }

    /// A directory, mode 0755.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, DIRECTORY | 0o755, (0, 0), &[])
    }

    /// A regular file; `mode` is its permission bits.
    pub fn file(&mut self, name: &str, mode: u32, body: &[u8]) -> io::Result<()> {
        self.entry(name, REGULAR | (mode & 0o7777), (0, 0), body)
    }

    /// A character device, mode 0600. Needs no privilege: it is only written down here.
    pub fn character_device(&mut self, name: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(name, CHARACTER | 0o600, (major, minor), &[])
    }

    /// Writes the trailer and gives the writer back, flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), body: &[u8]) -> io::Result<()> {
        let too_long = |what| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: {what} of 4 GiB or more"))
        };
        let body_len = u32::try_from(body.len()).map_err(|_| too_long("a file"))?;
        // The name is counted with its final zero byte.
        let name_len = u32::try_from(name.len() + 1).map_err(|_| too_long("a name"))?;
        self.inode += 1;

        let mut header = String::from("070701");
        #[rustfmt::skip]
        let fields = [
            self.inode, mode, /* uid, gid */ 0, 0, /* links */ 1, /* mtime */ 0, body_len,
            /* device of the file */ 0, 0, device.0, device.1, name_len, /* checksum, unused */ 0,
        ];
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        self.put(header.as_bytes())?;
        self.put(name.as_bytes())?;
        self.put(&[0])?;
        self.pad()?;
        self.put(body)?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len();
        self.out.write_all(bytes)
    }

    /// Headers and bodies start at multiples of four.
    fn pad(&mut self) -> io::Result<()> {
        let missing = self.written.next_multiple_of(4) - self.written;
        self.put(&[0; 3][..missing])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the archive back: (name, mode, body).
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |n: usize| {
                let hex = std::str::from_utf8(&bytes[6 + 8 * n..14 + 8 * n]).expect("ASCII");
                u32::from_str_radix(hex, 16).expect("hexadecimal") as usize
            };
            let (mode, size, name_len) = (field(1) as u32, field(6), field(11));
            let name = String::from_utf8(bytes[110..110 + name_len - 1].to_vec()).expect("UTF-8");
            assert_eq!(bytes[110 + name_len - 1], 0);
            let body = (110 + name_len).next_multiple_of(4);
            entries.push((name.clone(), mode, bytes[body..body + size].to_vec()));
            bytes = &bytes[(body + size).next_multiple_of(4)..];
            if name == "TRAILER!!!" {
                assert!(bytes.is_empty());
                return entries;
            }
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut archive = Archive::new(Vec::new());
        archive.directory("bin").expect("in memory");
        archive.file("bin/odd", 0o755, b"12345").expect("in memory");
        archive.character_device("dev", 5, 1).expect("in memory");
        let entries = read(&archive.finish().expect("in memory"));
        let expected: [(&str, u32, &[u8]); 4] = [
            ("bin", 0o040_755, b""),
            ("bin/odd", 0o100_755, b"12345"),
            ("dev", 0o020_600, b""),
            ("TRAILER!!!", 0, b""),
        ];
        assert_eq!(
            entries,
            expected.map(|(name, mode, body)| (name.to_owned(), mode, body.to_vec()))
        );
    }

    #[test]
    fn entries_start_at_multiples_of_four() {
        for len in 0..9 {
            let mut archive = Archive::new(Vec::new());
            archive.file("f", 0o644, &vec![b'x'; len]).expect("in memory");
            let bytes = archive.finish().expect("in memory");
            assert_eq!(bytes.len() % 4, 0);
            assert_eq!(read(&bytes)[0].2.len(), len);
        }
    }
}
