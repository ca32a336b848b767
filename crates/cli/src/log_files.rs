//! The log of servers: one JSON object per line, a file per day, a week of files.
//!
//! Several servers may write at once: each line is one write to the end of a file that all of them name alike.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use orchestr8_core::{agent_base::Clock as _, clock::SystemClock};
use orchestr8_schema::Timestamp;

use crate::{Error, private_file, sleep::sleep};

/// The folder of the data directory.
pub(crate) const FOLDER: &str = "logs";
/// For how many days lines are kept.
const DAYS: u64 = 7;
/// A file that would have more bytes is followed by a further one of the same day.
const MAX_SIZE: u64 = 50_000_000;
/// The most files that are kept, whatever their days.
const MAX_FILES: usize = 20;
/// What is followed is looked at this often.
const LOOK: Duration = Duration::from_millis(200);
/// The most that is read of a file for its last lines.
const TAIL: u64 = 1_000_000;
/// A line that has more bytes is not waited for.
const MAX_LINE: u64 = 1_000_000;

/// Writes lines.
#[derive(Debug)]
pub(crate) struct LogFiles {
    folder: PathBuf,
    clock: SystemClock,
    open: Mutex<Option<Open>>,
}

/// The file that lines are written to now.
#[derive(Debug)]
struct Open {
    name: Name,
    file: File,
    length: u64,
}

/// The name of a file: `server-2026-01-31.000.log`. Names are in the order of their lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    day: String,
    part: u16,
}

impl Name {
    fn parse(name: &str) -> Option<Self> {
        let (day, part) = name.strip_prefix("server-")?.strip_suffix(".log")?.split_once('.')?;
        let is_day = day.len() == 10 && day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        is_day.then_some(Self { day: day.to_owned(), part: part.parse().ok()? })
    }

    fn in_folder(&self, folder: &Path) -> PathBuf {
        folder.join(format!("server-{}.{:03}.log", self.day, self.part))
    }
}

fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// Lists the files, the oldest first.
fn names(folder: &Path) -> Vec<Name> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| Name::parse(entry.file_name().to_str()?)).collect();
    names.sort();
    names
}

impl LogFiles {
    /// Writes to this folder, which is made with the first line.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, clock: SystemClock::new(), open: Mutex::default() }
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let today = day(now);
        let fits = |open: &Open| open.name.day == today && open.length + line.len() as u64 <= MAX_SIZE;
        if !open.as_ref().is_some_and(fits) {
            let next = open.take().filter(|open| open.name.day == today).map(|open| open.name.part.saturating_add(1));
            *open = Some(self.next(today, next)?);
            self.tidy(now);
        }
        let Some(open) = open.as_mut() else { return Ok(()) };
        open.file.write_all(line)?;
        open.length += line.len() as u64;
        Ok(())
    }

    /// Opens the file of a day: this part, or the last one that there is, unless it is full.
    fn next(&self, day: String, part: Option<u16>) -> io::Result<Open> {
        private_file::folder(&self.folder)?;
        let last = || names(&self.folder).into_iter().filter(|name| name.day == day).map(|name| name.part).max();
        let mut name = Name { part: part.or_else(last).unwrap_or(0), day };
        loop {
            let file = private_file::append(&name.in_folder(&self.folder))?;
            let length = file.metadata()?.len();
            if length < MAX_SIZE || name.part == u16::MAX {
                return Ok(Open { name, file, length });
            }
            name.part += 1;
        }
    }

    /// Drops the files that are too old, or too many.
    fn tidy(&self, now: Timestamp) {
        let week = i64::try_from(Duration::from_secs((DAYS - 1) * 86_400).as_micros()).unwrap_or(i64::MAX);
        let first = day(Timestamp::from_micros(now.as_micros().saturating_sub(week)));
        let names = names(&self.folder);
        let too_many = names.len().saturating_sub(MAX_FILES);
        for (index, name) in names.iter().enumerate() {
            if name.day < first || index < too_many {
                // What stays is dropped at the next change of files.
                let _ = fs::remove_file(name.in_folder(&self.folder));
            }
        }
    }
}

/// Takes whole lines.
impl io::Write for &LogFiles {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.append(line).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the last lines of the log, the oldest first: of each file at most the last megabyte.
///
/// # Errors
///
/// When a file cannot be read.
pub(crate) fn last_lines(folder: &Path, count: usize) -> Result<(Vec<String>, Follower), Error> {
    let mut lines = Vec::new();
    let mut newest = None;
    for name in names(folder).into_iter().rev() {
        let path = name.in_folder(folder);
        let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let mut part = Follower { folder: folder.to_owned(), name: Some(name), read: length.saturating_sub(TAIL) };
        let is_cut = part.read > 0;
        let own = part.more();
        let own =
            own.map_err(|error| Error::unreachable(format!("cannot read {}", path.display())).with_source(error))?;
        newest.get_or_insert(part);
        lines.splice(0..0, own.into_iter().skip(usize::from(is_cut)));
        if lines.len() >= count {
            lines.drain(..lines.len() - count);
            break;
        }
    }
    Ok((lines, newest.unwrap_or(Follower { folder: folder.to_owned(), name: None, read: 0 })))
}

/// Reads what is written behind what has been read.
#[derive(Debug)]
pub(crate) struct Follower {
    folder: PathBuf,
    name: Option<Name>,
    read: u64,
}

impl Follower {
    /// Waits for further lines, and shows them, for ever.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or a line not shown.
    pub(crate) fn follow(mut self, mut show: impl FnMut(&str) -> Result<(), Error>) -> Result<(), Error> {
        loop {
            let lines = self.more();
            let lines = lines.map_err(|error| {
                Error::unreachable(format!("cannot read the log in {}", self.folder.display())).with_source(error)
            })?;
            lines.iter().try_for_each(|line| show(line))?;
            let next = names(&self.folder).into_iter().find(|name| Some(name) > self.name.as_ref());
            match next {
                // What was written to the old one until then has been read.
                Some(next) if lines.is_empty() => (self.name, self.read) = (Some(next), 0),
                _ => sleep(LOOK)?,
            }
        }
    }

    /// Reads the whole lines behind what has been read.
    fn more(&mut self) -> io::Result<Vec<String>> {
        let Some(name) = &self.name else { return Ok(Vec::new()) };
        let mut file = match File::open(name.in_folder(&self.folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        io::Seek::seek(&mut file, io::SeekFrom::Start(self.read))?;
        let mut reader = BufReader::new(file);
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            let length = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
            if length == 0 || (line.last() != Some(&b'\n') && (length as u64) < MAX_LINE) {
                return Ok(lines);
            }
            self.read += length as u64;
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::Write as _,
    };

    use super::{LogFiles, MAX_FILES, MAX_SIZE, last_lines, names};

    #[test]
    fn a_full_file_is_followed_by_a_further_part_and_old_ones_are_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let old = ["server-2020-01-01.000.log", "server-2020-01-02.003.log"];
        for name in old.iter().chain(&["start.err", "server-notes.log"]) {
            fs::write(folder.path().join(name), "{}\n").expect("written");
        }
        let log = LogFiles::new(folder.path().to_owned());
        (&log).write_all(b"{\"first\":1}\n").expect("written");
        let first = names(folder.path());
        assert_eq!((first.len(), first[0].part), (1, 0), "{first:?}");
        assert!(folder.path().join("start.err").exists() && folder.path().join("server-notes.log").exists());

        // As if it had been written full by others.
        let file = File::options().write(true).open(first[0].in_folder(folder.path())).expect("opened");
        file.set_len(MAX_SIZE).expect("grown");
        let again = LogFiles::new(folder.path().to_owned());
        for number in 0..3 {
            (&again).write_all(format!("{{\"number\":{number}}}\n").as_bytes()).expect("written");
        }
        let parts: Vec<_> = names(folder.path()).into_iter().map(|name| name.part).collect();
        assert_eq!(parts, [0, 1]);
        let (lines, _) = last_lines(folder.path(), 2).expect("read");
        assert_eq!(lines, [r#"{"number":1}"#, r#"{"number":2}"#]);
        assert_eq!(last_lines(folder.path(), 9).expect("read").0.len(), 3, "what is no whole line does not count");
    }

    #[test]
    fn there_are_never_too_many_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = LogFiles::new(folder.path().to_owned());
        (&log).write_all(b"{}\n").expect("written");
        let today = names(folder.path()).remove(0);
        for part in 1..40 {
            let name = super::Name { part, ..today.clone() };
            fs::write(name.in_folder(folder.path()), "{}\n").expect("written");
        }
        let again = LogFiles::new(folder.path().to_owned());
        (&again).write_all(b"{}\n").expect("written");
        let kept = names(folder.path());
        assert_eq!((kept.len(), kept.last().map(|name| name.part)), (MAX_FILES, Some(39)));
    }
}
