//! A file of comma-separated values (RFC 4180), each record found by its first field.

use super::Error;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// The largest file that is read, in octets.
const FILE_SIZE_MAX: u64 = 64 << 20;

/// Held while a file is read, changed and written: after a reload two sets of rules may have the same one.
static WRITING: Mutex<()> = Mutex::new(());

/// What may be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `O_RDONLY`
    Read,
    /// `O_WRONLY`
    Write,
    /// `O_RDWR`
    ReadWrite,
}

/// The records of one file, in memory.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    delimiter: u8,
    access: Access,
    /// Whether the file is looked at before each question.
    refresh: bool,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    records: Vec<Vec<String>>,
    /// Where the record with that first field stands; the first of several.
    index: HashMap<String, usize>,
    /// The file as it was when it was read.
    look: Look,
}

/// A file, as far as stat(2) tells: device, inode, size, and when it was modified. `None` while there is none.
type Look = Option<(u64, u64, u64, (i64, i64))>;

impl Records {
    /// Reads the file at `path`. One that rules may write is made by the first that does.
    ///
    /// # Errors
    /// It cannot be read, or is no file of such records.
    pub fn open(
        path: PathBuf,
        delimiter: u8,
        access: Access,
        refresh: bool,
    ) -> Result<Self, Error> {
        let records = Self {
            path,
            delimiter,
            access,
            refresh,
            table: RwLock::default(),
        };
        let table = records.read()?;
        *records
            .table
            .write()
            .unwrap_or_else(PoisonError::into_inner) = table;
        Ok(records)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a question looks at the disk.
    pub const fn reads_disk(&self) -> bool {
        self.refresh
    }

    /// The record whose first field is `key`.
    ///
    /// # Errors
    /// The file may not be read, or has changed into something that cannot be.
    pub fn get(&self, key: &str) -> Result<Option<Vec<String>>, Error> {
        if self.access == Access::Write {
            return Err(Error::Refused("it is open for writing only".to_owned()));
        }
        if self.refresh && self.table().look != look(&self.path) {
            let table = self.read()?;
            *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        }
        let table = self.table();
        let place = table.index.get(key).copied();
        Ok(place.and_then(|place| table.records.get(place)).cloned())
    }

    /// Puts `record` in the place of the one with the same first field, or at the end.
    ///
    /// # Errors
    /// The file may not be written, or cannot be; it is then as it was.
    pub fn set(&self, record: Vec<String>) -> Result<(), Error> {
        let Some(key) = record.first().cloned() else {
            return Err(Error::Refused("a record has a field at least".to_owned()));
        };
        self.change(|table| match table.index.get(&key) {
            Some(place) => {
                if let Some(old) = table.records.get_mut(*place) {
                    *old = record;
                }
                true
            }
            None => {
                table.index.insert(key, table.records.len());
                table.records.push(record);
                true
            }
        })
        .map(drop)
    }

    /// Takes out every record whose first field is `key`; whether there was one.
    ///
    /// # Errors
    /// As [`Records::set`].
    pub fn remove(&self, key: &str) -> Result<bool, Error> {
        self.change(|table| {
            let before = table.records.len();
            let is_other = |record: &Vec<String>| record.first().is_none_or(|first| first != key);
            table.records.retain(is_other);
            table.index = index(&table.records);
            table.records.len() < before
        })
    }

    /// Changes the file as it now is on disk. Writes it when `change` says that it did something.
    fn change(&self, change: impl FnOnce(&mut Table) -> bool) -> Result<bool, Error> {
        if self.access == Access::Read {
            return Err(Error::Refused("it is open for reading only".to_owned()));
        }
        let _writing = lock_writing();
        let mut table = self.read()?;
        let changed = change(&mut table);
        if changed {
            self.write(&table.records)
                .map_err(|error| Error::File(error.to_string()))?;
            table.look = look(&self.path);
        }
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        Ok(changed)
    }

    fn table(&self) -> std::sync::RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<Table, Error> {
        let unreadable = |error: &dyn std::fmt::Display| Error::File(error.to_string());
        // Looked at before it is read: what changes in between is seen the next time.
        let look = look(&self.path);
        let file = match File::open(&self.path) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && self.access != Access::Read =>
            {
                return Ok(Table::default());
            }
            file => file.map_err(|error| unreadable(&error))?,
        };
        let metadata = file.metadata().map_err(|error| unreadable(&error))?;
        if !metadata.is_file() || metadata.len() > FILE_SIZE_MAX {
            return Err(unreadable(&"not a regular file of 64 MiB at most"));
        }
        let records = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .from_reader(file)
            .into_records()
            .map(|record| Ok(record?.iter().map(str::to_owned).collect()))
            .collect::<Result<Vec<Vec<String>>, csv::Error>>()
            .map_err(|error| unreadable(&error))?;
        Ok(Table {
            index: index(&records),
            records,
            look,
        })
    }

    /// Whole and durable, or not at all.
    fn write(&self, records: &[Vec<String>]) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(".new");
        fs::create_dir_all(folder)?;
        let mode = fs::metadata(&self.path).map_or(0o640, |metadata| metadata.mode() & 0o777);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        let mut writer = csv::WriterBuilder::new()
            .flexible(true)
            .delimiter(self.delimiter)
            .from_writer(&file);
        for record in records {
            writer.write_record(record)?;
        }
        writer.flush()?;
        drop(writer);
        (&file).flush()?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        File::open(folder)?.sync_all()
    }
}

fn lock_writing() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn index(records: &[Vec<String>]) -> HashMap<String, usize> {
    let mut index = HashMap::with_capacity(records.len());
    for (place, record) in records.iter().enumerate() {
        if let Some(key) = record.first() {
            index.entry(key.clone()).or_insert(place);
        }
    }
    index
}

fn look(path: &Path) -> Look {
    let facts = fs::metadata(path).ok()?;
    let modified = (facts.mtime(), facts.mtime_nsec());
    Some((facts.dev(), facts.ino(), facts.len(), modified))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.csv");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn record(fields: &[&str]) -> Vec<String> {
        fields.iter().map(|field| (*field).to_owned()).collect()
    }

    #[test]
    fn finds_records_by_their_first_field() {
        let text = "john,grey,\"a, b\"\njane\n\njohn,second\n\"x\"\"y\",1\n";
        let (_folder, path) = file(text);
        let records = Records::open(path, b',', Access::Read, false).unwrap();
        for (key, expected) in [
            ("john", Some(record(&["john", "grey", "a, b"]))),
            ("jane", Some(record(&["jane"]))),
            ("x\"y", Some(record(&["x\"y", "1"]))),
            ("nobody", None),
            ("", None),
        ] {
            assert_eq!(records.get(key), Ok(expected), "{key}");
        }
        assert!(matches!(
            records.set(record(&["a"])),
            Err(Error::Refused(_))
        ));
        assert!(matches!(records.remove("john"), Err(Error::Refused(_))));
    }

    #[test]
    fn a_change_is_on_disk() {
        let (_folder, path) = file("a;1\nb;2\na;3\n");
        let records = Records::open(path.clone(), b';', Access::ReadWrite, false).unwrap();
        records.set(record(&["b", "x;y"])).unwrap();
        records.set(record(&["c"])).unwrap();
        assert_eq!(records.remove("a"), Ok(true));
        assert_eq!(records.remove("a"), Ok(false));
        assert_eq!(fs::read_to_string(&path).unwrap(), "b;\"x;y\"\nc\n");
        assert_eq!(records.get("b"), Ok(Some(record(&["b", "x;y"]))));
        assert_eq!(records.get("a"), Ok(None));
        // Another, as after a reload: neither writes over what the other wrote.
        let other = Records::open(path.clone(), b';', Access::Write, false).unwrap();
        other.set(record(&["d"])).unwrap();
        records.set(record(&["e"])).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "b;\"x;y\"\nc\nd\ne\n");
        assert!(matches!(other.get("d"), Err(Error::Refused(_))));
    }

    #[test]
    fn a_file_that_rules_write_need_not_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/list.csv");
        assert!(Records::open(path.clone(), b',', Access::Read, false).is_err());
        let records = Records::open(path.clone(), b',', Access::ReadWrite, false).unwrap();
        assert_eq!(records.get("a"), Ok(None));
        assert!(matches!(records.set(Vec::new()), Err(Error::Refused(_))));
        records.set(record(&["a", "1"])).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a,1\n");
    }

    #[test]
    fn is_read_again_where_that_is_wanted() {
        let (_folder, path) = file("a,1\n");
        let once = Records::open(path.clone(), b',', Access::Read, false).unwrap();
        let always = Records::open(path.clone(), b',', Access::Read, true).unwrap();
        fs::write(&path, "a,22\n").unwrap();
        assert_eq!(once.get("a"), Ok(Some(record(&["a", "1"]))));
        assert_eq!(always.get("a"), Ok(Some(record(&["a", "22"]))));
        fs::remove_file(&path).unwrap();
        assert!(matches!(always.get("a"), Err(Error::File(_))));
    }
}
