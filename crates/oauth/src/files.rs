//! Files that decide whom we trust: keys, secrets, databases. Anybody else who can write one, or rename it in its
//! folder, decides in our place; so such a file or folder is refused, as are symbolic links. The checks look at the
//! opened file, because its path may lead elsewhere a moment later.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Error, Read, Result},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, io::Errno, process::geteuid};

/// The right to write of the group and of everybody.
const WRITE: u32 = 0o022;
/// All rights of the group and of everybody.
const ALL: u32 = 0o077;

/// Makes sure that the folder exists, and that only we can put files into it. A new one has mode 0700.
///
/// # Errors
/// If it cannot be made, is no folder, or others may write there.
pub fn folder(path: &Path) -> Result<()> {
    let path: PathBuf = path.components().collect(); // a slash at the end would follow a symbolic link
    let path = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path };
    let cannot = |error| with_name(error, &format!("cannot use the folder {}", path.display()));
    // Not over a link, which may lead nowhere yet.
    if fs::symlink_metadata(&path).is_err() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(cannot)?;
    }
    let opened = open(OpenOptions::new().read(true), OFlags::DIRECTORY, &path).map_err(cannot)?;
    check(&opened, WRITE).map_err(cannot)
}

/// Reads a file that others may read, but neither write nor replace.
///
/// # Errors
/// If it cannot be read, is not UTF-8, or others may write it or into its folder. They may write into a folder such as
/// /tmp, where nobody can remove or rename what is somebody else's.
pub fn read(path: &Path) -> Result<Trusted> {
    let mut file = open(OpenOptions::new().read(true), OFlags::empty(), path)?;
    check(&file, WRITE)?;
    check_place(path)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Trusted { text, file })
}

/// Reads a file that only we may read or write.
///
/// # Errors
/// If it cannot be read, is not UTF-8, or others have any right to it.
pub fn read_secret(path: &Path) -> Result<String> {
    let trusted = read(path)?;
    trusted.check_secret()?;
    Ok(trusted.text)
}

/// What was read, and from where.
pub struct Trusted {
    /// What the file holds.
    pub text: String,
    file: File,
}

impl Trusted {
    /// For a file that turned out to hold a secret only after it was read.
    ///
    /// # Errors
    /// If others may read it.
    pub fn check_secret(&self) -> Result<()> {
        check(&self.file, ALL)
    }
}

/// Makes sure that the file (a new one has mode 0600) and its folder exist, for SQLite to open. SQLite opens it by its
/// path, so nobody else may put files there. The files that SQLite keeps beside it are looked at as well.
///
/// # Errors
/// If it cannot be opened, or others have any right to it or may write into its folder.
pub fn database(path: &Path) -> Result<()> {
    if is_url(path) {
        return Err(Error::other("it is a URL, and a file is wanted here"));
    }
    folder(path.parent().unwrap_or(Path::new("")))?;
    check(&open(OpenOptions::new().append(true).create(true).mode(0o600), OFlags::empty(), path)?, ALL)?;
    for suffix in ["-journal", "-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        match open(OpenOptions::new().read(true), OFlags::empty(), Path::new(&beside)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => check(&opened?, ALL).map_err(|error| with_name(error, &Path::new(&beside).display()))?,
        }
    }
    Ok(())
}

/// Whether this looks like a URL, which may hold a password: a scheme, a colon, and a slash (RFC 3986 §3) or an `@`. A file of
/// such a name can be had with `./` before it.
pub fn is_url(path: &Path) -> bool {
    let Some((scheme, rest)) = path.to_str().and_then(|text| text.trim_start().split_once(':')) else { return false };
    let in_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let known = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(in_scheme);
    known && (rest.starts_with('/') || rest.contains('@'))
}

/// Follows no link, and does not wait for the other end of a FIFO.
fn open(options: &mut OpenOptions, flags: OFlags, path: &Path) -> Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path).map_err(|error| {
        let link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        // macOS and Linux say ELOOP; Linux says ENOTDIR of a link where a folder was asked for.
        match Errno::from_io_error(&error) {
            Some(Errno::LOOP | Errno::NOTDIR) if link => Error::other("it is a symbolic link: name what it leads to"),
            _ => error,
        }
    })?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || flags.contains(OFlags::DIRECTORY) { Ok(file) } else { Err(Error::other("it is not a file")) }
}

/// Refuses a file that others may remove or rename.
fn check_place(path: &Path) -> Result<()> {
    const STICKY: u32 = 0o1000;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = fs::metadata(folder)?.mode() & 0o7777;
    if mode & WRITE == 0 || mode & STICKY != 0 {
        return Ok(());
    }
    let folder = folder.display();
    Err(Error::other(format!("others may write into its folder {folder} (mode {mode:04o}): chmod go-w it")))
}

/// Refuses a file that belongs neither to us nor to root, or to which others have one of these rights.
fn check(opened: &File, rights: u32) -> Result<()> {
    let found = opened.metadata()?;
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    let why = if owner != 0 && owner != geteuid().as_raw() {
        format!("it belongs to another user (uid {owner})")
    } else if mode & rights & WRITE != 0 {
        format!("others may write there (mode {mode:04o}): chmod go-w it")
    } else if mode & rights != 0 {
        format!("it can be read by others (mode {mode:04o}): chmod 600 it")
    } else {
        return Ok(());
    };
    Err(Error::other(why))
}

/// The same error, which says what it is about.
fn with_name(error: Error, name: &dyn fmt::Display) -> Error {
    Error::new(error.kind(), format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn why<T>(outcome: Result<T>) -> String {
        outcome.err().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    #[test]
    fn a_file_that_others_may_change_is_refused_and_a_secret_that_they_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "text").unwrap();
        for (mode, trusted, secret) in [
            (0o600, true, true),
            (0o400, true, true),
            (0o644, true, false),
            (0o640, true, false),
            (0o604, true, false),
            (0o601, true, false),
            (0o620, false, false),
            (0o602, false, false),
            (0o666, false, false),
        ] {
            set(&file, mode);
            let (read, read_secret) = (read(&file), read_secret(&file));
            assert_eq!(read.is_ok(), trusted, "{mode:o}");
            assert_eq!(read_secret.is_ok(), secret, "{mode:o}");
            for error in [why(read), why(read_secret)].into_iter().filter(|error| !error.is_empty()) {
                assert!(error.contains(&format!("{mode:04o}")), "{error}");
            }
        }
    }

    #[test]
    fn a_file_that_others_may_replace_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let file = folder.join("file");
        fs::write(&file, "text").unwrap();
        set(&file, 0o600);
        for (mode, good) in
            [(0o700, true), (0o755, true), (0o1777, true), (0o770, false), (0o702, false), (0o777, false)]
        {
            set(&folder, mode);
            for error in [why(read(&file)), why(read_secret(&file))] {
                assert_eq!(error.is_empty(), good, "{mode:o}: {error}");
                assert!(
                    good || error.contains(&format!("its folder {} (mode {mode:04o})", folder.display())),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn links_and_what_is_no_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "text").unwrap();
        fs::create_dir(at("folder")).unwrap();
        set(&at("file"), 0o600);
        set(&at("folder"), 0o700);
        symlink(at("file"), at("link")).unwrap();
        symlink(at("folder"), at("folder-link")).unwrap();
        symlink(at("nothing"), at("dangling")).unwrap();
        assert!(read(&at("file")).is_ok() && folder(&at("folder")).is_ok());
        for error in [
            why(read(&at("link"))),
            why(read_secret(&at("link"))),
            why(database(&at("link"))),
            why(database(&at("dangling"))),
            why(folder(&at("folder-link"))),
            why(folder(&at("folder-link/"))),
            why(folder(&at("dangling"))),
            why(database(&at("folder-link/new.db"))),
        ] {
            assert!(error.contains("symbolic link"), "{error}");
        }
        assert!(!at("nothing").exists() && !at("folder/new.db").exists());
        assert!(why(read(&at("folder"))).contains("not a file"));
        assert!(folder(&at("file")).is_err());
    }

    #[test]
    fn a_folder_where_others_may_put_files_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        folder(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
        for (mode, good) in [(0o755, true), (0o770, false), (0o777, false), (0o1777, false), (0o703, false)] {
            set(&path, mode);
            assert_eq!(folder(&path).is_ok(), good, "{mode:o}");
            assert_eq!(database(&path.join("x.db")).is_ok(), good, "{mode:o}");
        }
    }

    #[test]
    fn a_database_and_what_sqlite_keeps_beside_it_are_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.db");
        database(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
        for name in ["x.db", "x.db-wal", "x.db-shm", "x.db-journal"] {
            let path = dir.path().join(name);
            fs::write(&path, "").unwrap();
            set(&path, 0o644);
            assert!(why(database(&file)).contains("0644"), "{name}");
            set(&path, 0o600);
            database(&file).unwrap();
        }
        symlink(&file, dir.path().join("y.db-wal")).unwrap();
        assert!(why(database(&dir.path().join("y.db"))).contains("symbolic link"));
    }
}
