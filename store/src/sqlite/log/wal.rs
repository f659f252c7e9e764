//! [`Wal`]: reads from the write-ahead log of a database file which commits there were, and the
//! last record of the log in each.
//!
//! Every commit that adds records writes the page of `sqlite_sequence` with the number of the last
//! one. Anything that does not have the expected form is ignored. The file may be opened and closed
//! while SQLite uses it, because SQLite holds no lock on it (unlike the database file and its
//! `-shm`).

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use super::names::SEQUENCE_OF_LOG;

const HEADER: usize = 32;
const FRAME: usize = 24;
const VERSION: u32 = 3_007_000;
/// The first number of a file; its last bit selects the byte order of checksums.
const MAGIC: u32 = 0x377f_0682;
/// The type of a leaf page of a table.
const LEAF: u8 = 0x0d;

/// The checksum of a frame and of all frames before it.
pub(super) type Sum = (u32, u32);

/// One write-ahead log file, open.
#[derive(Debug)]
pub(super) struct Wal {
    file: File,
    pub(super) header: Header,
}

/// The header of the file, which changes whenever SQLite restarts the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    page: usize,
    order: Order,
    salts: (u32, u32),
    pub(super) sum: Sum,
}

/// The byte order of checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

/// The header of a frame, which holds one page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) page: u32,
    pub(super) ends_commit: bool,
    pub(super) sum: Sum,
    salts: (u32, u32),
    /// The part of the header that the checksum covers.
    covered: [u8; 8],
}

impl Wal {
    /// Opens a file and reads its header; `None` if it has none yet.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let header = Header::read(&mut file)?;
        Ok(header.map(|header| Self { file, header }))
    }

    /// Returns whether the file still has the same header.
    pub(super) fn is_unchanged(&mut self) -> io::Result<bool> {
        Ok(Header::read(&mut self.file)?.as_ref() == Some(&self.header))
    }

    /// Reads the header of a frame, counted from 1; `None` if it is older than the last restart of
    /// the file.
    pub(super) fn frame(&mut self, number: u64) -> io::Result<Option<Frame>> {
        let frame = self.any_frame(number)?;
        Ok(frame.filter(|frame| frame.is_of(&self.header)))
    }

    /// Reads the header of a frame, even if it is older than the last restart.
    pub(super) fn any_frame(&mut self, number: u64) -> io::Result<Option<Frame>> {
        let mut head = [0; FRAME];
        self.file.seek(SeekFrom::Start(self.place(number)))?;
        if !read_all(&mut self.file, &mut head)? {
            return Ok(None);
        }

        let [page, pages, salt, other, sum, further] = words(&head);
        let mut covered = [0; 8];
        covered.copy_from_slice(&head[..8]);

        Ok(Some(Frame {
            page,
            ends_commit: pages > 0,
            sum: (sum, further),
            salts: (salt, other),
            covered,
        }))
    }

    /// Reads the number of the last record from a frame of the sequence's page; `None` if the frame
    /// does not follow the one before it, or the page has no entry for the log.
    pub(super) fn sequence(
        &mut self,
        number: u64,
        frame: &Frame,
        before: Sum,
    ) -> io::Result<Option<u64>> {
        let mut page = vec![0; self.header.page];
        let place = self.place(number) + FRAME as u64;
        self.file.seek(SeekFrom::Start(place))?;
        if !read_all(&mut self.file, &mut page)? {
            return Ok(None);
        }

        let order = self.header.order;
        let sum = order.sum(order.sum(before, &frame.covered), &page);
        Ok(if sum == frame.sum {
            sequence_of(&page, SEQUENCE_OF_LOG)
        } else {
            None
        })
    }

    fn place(&self, number: u64) -> u64 {
        let size = (FRAME + self.header.page) as u64;
        HEADER as u64 + number.saturating_sub(1).saturating_mul(size)
    }
}

impl Header {
    fn read(file: &mut File) -> io::Result<Option<Self>> {
        let mut head = [0; HEADER];
        file.seek(SeekFrom::Start(0))?;
        if !read_all(file, &mut head)? {
            return Ok(None);
        }

        let [magic, version, page, _, salt, other, sum, further] = words(&head);
        let order = match magic {
            MAGIC => Order::Little,
            _ if magic == MAGIC + 1 => Order::Big,
            _ => return Ok(None),
        };
        let page = usize::try_from(page).unwrap_or(0);
        let is_page = page.is_power_of_two() && (512..=65_536).contains(&page);
        let sum = (sum, further);
        let is_whole = sum == order.sum((0, 0), &head[..FRAME]);
        let salts = (salt, other);
        let read = Self {
            page,
            order,
            salts,
            sum,
        };
        Ok((version == VERSION && is_page && is_whole).then_some(read))
    }

    /// Returns whether the file was restarted exactly once since an earlier header.
    pub(super) fn follows(&self, earlier: &Self) -> bool {
        self.page == earlier.page && self.salts.0 == earlier.salts.0.wrapping_add(1)
    }
}

impl Frame {
    /// Returns whether the frame was written under that header.
    pub(super) fn is_of(&self, header: &Header) -> bool {
        self.salts == header.salts
    }
}

impl Order {
    fn sum(self, before: Sum, bytes: &[u8]) -> Sum {
        let word = |bytes: &[u8]| {
            let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
            match self {
                Self::Little => u32::from_le_bytes(bytes),
                Self::Big => u32::from_be_bytes(bytes),
            }
        };
        bytes.chunks_exact(8).fold(before, |(one, two), pair| {
            let one = one.wrapping_add(word(&pair[..4])).wrapping_add(two);
            (one, two.wrapping_add(word(&pair[4..])).wrapping_add(one))
        })
    }
}

/// Reads until a buffer is full; returns whether the file had enough bytes.
fn read_all(file: &mut File, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn words<const COUNT: usize>(bytes: &[u8]) -> [u32; COUNT] {
    let mut words = [0; COUNT];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    words
}

/// Returns the number of a table on a page of `sqlite_sequence`; `None` if it is another kind of
/// page, or the table is not on it.
fn sequence_of(page: &[u8], table: &str) -> Option<u64> {
    if *page.first()? != LEAF {
        return None;
    }
    let short = |at: usize| {
        let bytes = page.get(at..at + 2)?;
        Some(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    };
    let cells = short(3)?;
    (0..cells).find_map(|cell| row_of(page.get(short(8 + 2 * cell)?..)?, table))
}

/// Returns the number in a cell, if the cell is that of the table.
fn row_of(cell: &[u8], table: &str) -> Option<u64> {
    let (_size, cell) = variable(cell)?;
    let (_row, record) = variable(cell)?;
    let (head, rest) = variable(record)?;
    let head = usize::try_from(head).ok()?;
    let (name, rest) = variable(rest)?;
    let (number, _) = variable(rest)?;
    if name < 13 || name % 2 == 0 {
        return None;
    }

    let length = usize::try_from((name - 13) / 2).ok()?;
    let values = record.get(head..)?;
    if values.get(..length)? != table.as_bytes() {
        return None;
    }

    let bytes = match number {
        0..=4 => usize::try_from(number).ok()?,
        5 => 6,
        6 => 8,
        8 => return Some(0),
        9 => return Some(1),
        _ => return None,
    };
    let value = values.get(length..length + bytes)?;
    Some(
        value
            .iter()
            .fold(0, |all, byte| all << 8 | u64::from(*byte)),
    )
}

/// Reads a number of 1 to 9 bytes; returns it and what follows it.
fn variable(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        if at == 8 {
            return Some((number << 8 | u64::from(*byte), &bytes[9..]));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[at + 1..]));
        }
    }

    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_to_nine_bytes() {
        assert_eq!(variable(&[5, 9]), Some((5, &[9][..])));
        assert_eq!(variable(&[0x81, 0x01]), Some((129, &[][..])));
        assert_eq!(variable(&[0xff; 9]), Some((u64::MAX, &[][..])));
        assert_eq!(variable(&[0x80]), None);
    }

    #[test]
    fn a_page_says_the_last_number_of_a_table() {
        let mut page = vec![0; 512];
        let cell = b"\x0e\x02\x03\x23\x02tidings_log\x01\x02";
        page[..10].copy_from_slice(&[LEAF, 0, 0, 0, 1, 1, 0, 0, 1, 0]);
        page[256..256 + cell.len()].copy_from_slice(cell);
        assert_eq!(sequence_of(&page, "tidings_log"), Some(258));
        assert_eq!(sequence_of(&page, "tidings_lo"), None);
        page[0] = 0x05; // has pages below it
        assert_eq!(sequence_of(&page, "tidings_log"), None);
    }
}
