//! What commands print: JSON objects, or text in columns.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

use crate::control::{Note, VERSION};

/// Standard output, and the form that is wanted on it.
pub(super) struct Output<W: Write = BufWriter<StdoutLock<'static>>> {
    writer: W,
    pub json: bool,
}

impl Output {
    pub(super) fn new(stdout: StdoutLock<'static>, json: bool) -> Self {
        Self { writer: BufWriter::new(stdout), json }
    }
}

/// A result with the version that every object begins with.
#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u32,
    #[serde(flatten)]
    result: &'a T,
}

impl<W: Write> Output<W> {
    /// One JSON object on one line.
    pub(super) fn json<T: Serialize>(&mut self, result: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.writer, &Versioned { v: VERSION, result })?;
        self.writer.write_all(b"\n")
    }

    /// A line.
    pub(super) fn line(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        writeln!(self.writer, "{text}")
    }

    /// A table, indented by two; its columns are as wide as they must be, and
    /// the last `numbers` of them are aligned to the right.
    pub(super) fn table<const N: usize>(
        &mut self,
        header: [&str; N],
        numbers: usize,
        rows: &[[String; N]],
    ) -> io::Result<()> {
        let width = |text: &str| text.chars().count();
        let widths: [usize; N] = std::array::from_fn(|column| {
            let longest = rows.iter().map(|row| width(&row[column])).max().unwrap_or(0);
            longest.max(width(header[column]))
        });
        let header = header.map(str::to_owned);
        for row in std::iter::once(&header).chain(rows) {
            let mut line = String::new();
            for (column, (text, width)) in row.iter().zip(widths).enumerate() {
                if column + numbers >= N {
                    line.push_str(&format!("  {text:>width$}"));
                } else {
                    line.push_str(&format!("  {text:<width$}"));
                }
            }
            writeln!(self.writer, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Prints warnings to standard error.
pub(super) fn warn(warnings: &[Note]) {
    let mut err = io::stderr().lock();
    for warning in warnings {
        // There is nowhere left to say that this failed.
        let _ = writeln!(err, "warning: {warning}");
    }
}

/// What is not there.
pub(super) fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

#[cfg(test)]
impl Output<Vec<u8>> {
    /// One that is read back.
    pub(super) fn kept(json: bool) -> Self {
        Self { writer: Vec::new(), json }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.writer).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_and_numbers_end_together() -> io::Result<()> {
        let mut out = Output::kept(false);
        let rows =
            [["eth0".to_owned(), "7".to_owned()], ["a-long-name".to_owned(), "12345".to_owned()]];
        out.table(["INTERFACE", "N"], 1, &rows)?;
        assert_eq!(
            out.text(),
            "  INTERFACE        N\n  eth0             7\n  a-long-name  12345\n"
        );
        Ok(())
    }

    #[test]
    fn every_object_begins_with_its_version() -> io::Result<()> {
        #[derive(Serialize)]
        struct Result {
            generation: u64,
        }
        let mut out = Output::kept(true);
        out.json(&Result { generation: 3 })?;
        assert_eq!(out.text(), "{\"v\":1,\"generation\":3}\n");
        Ok(())
    }
}
