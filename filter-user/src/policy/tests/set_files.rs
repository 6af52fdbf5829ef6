//! Sets that come from files: real ones, in a directory of their own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;
use crate::policy::{ErrorKind, SetFile, Source, load};

const POLICY: &str = "[sets]\npeers = { file = \"peers.txt\" }\n[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = [\"@peers\"]\n";

struct Folder(tempfile::TempDir);

impl Folder {
    /// A directory with a policy and, if it has any, the content of the set.
    fn new(policy: &[u8], peers: Option<&[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let folder = Self(folder);
        folder.write("nodewall.toml", policy);
        if let Some(peers) = peers {
            folder.write("peers.txt", peers);
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    #[track_caller]
    fn load(&self) -> Loaded {
        load(&self.path("nodewall.toml")).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The only error that the policy has.
    #[track_caller]
    fn error(&self) -> PolicyError {
        let Err(Errors(mut errors)) = load(&self.path("nodewall.toml")) else {
            panic!("no error");
        };
        assert_eq!(errors.len(), 1, "{}", Errors(errors));
        errors.remove(0)
    }

    #[track_caller]
    fn peers(&self) -> Vec<ipnet::IpNet> {
        match &self.load().policy.rules[0].from {
            Source::Prefixes(list) => list.to_vec(),
            Source::Anywhere => panic!("anywhere"),
        }
    }
}

#[test]
fn a_line_is_an_address_or_a_comment() {
    let content = b"\xEF\xBB\xBF# peers\r\n10.0.0.1\r\n\r\n  10.1.0.0/16 # the lab\n\t2001:db8::/32#\n   # \xC3\xA9\n10.0.0.1\n192.0.2.7";
    let folder = Folder::new(POLICY.as_bytes(), Some(content));
    assert_eq!(
        folder.peers(),
        nets(&["10.0.0.1/32", "10.1.0.0/16", "192.0.2.7/32", "2001:db8::/32"])
    );
    let loaded = folder.load();
    assert!(loaded.warnings.is_empty(), "{}", listed(&loaded.warnings));
    assert_eq!(
        loaded.set_files,
        [SetFile { name: "peers".to_owned(), path: folder.path("peers.txt") }]
    );
}

#[test]
fn a_policy_may_begin_with_a_byte_order_mark_and_end_its_lines_as_windows_does() {
    let policy = format!("\u{feff}{}", POLICY.replace('\n', "\r\n"));
    assert_eq!(Folder::new(policy.as_bytes(), Some(b"10.0.0.1")).peers(), nets(&["10.0.0.1/32"]));
    let policy = "\u{feff}# é\r\n[tables]\r\nbans = 0\r\n";
    let error = Folder::new(policy.as_bytes(), None).error();
    assert_eq!((error.line, error.column), (Some(3), Some(8)));
    let error = Folder::new("\u{feff}mood = 3".as_bytes(), None).error();
    assert_eq!((error.line, error.column), (Some(1), Some(1)));
}

#[test]
fn a_bad_line_is_named_with_its_file() {
    let good = "192.0.2.1\n".repeat(4_710);
    for (line, column, sentence) in [
        ("bad!", 1, "`bad!` is no address or prefix"),
        ("  10.0.0.1 10.0.0.2", 3, "is no address or prefix"),
        ("10.0.0.0/33 # no", 1, "`33` is no prefix length"),
        ("\u{a0}\tpeer.example.com", 3, "is a host name"),
        ("@operators", 1, "`@operators` names a set, and a set file holds addresses alone"),
        ("10.0.0.1,", 1, "is no address or prefix"),
    ] {
        let folder =
            Folder::new(POLICY.as_bytes(), Some(format!("{good}{line}\r\n10.0.0.1\n").as_bytes()));
        let error = folder.error();
        assert_eq!(error.file, folder.path("peers.txt"));
        assert_eq!((error.line, error.column), (Some(4_711), Some(column)), "{error}");
        assert_eq!(error.field.as_deref(), Some("sets.peers"));
        assert_eq!(error.set.as_deref(), Some("peers"));
        assert!(error.kind.to_string().contains(sentence), "{error}");
        let shown = error.to_string();
        let place =
            format!("{}:4711:{column}: field `sets.peers`: ", folder.path("peers.txt").display());
        assert!(shown.starts_with(&place), "{shown}");
    }
}

#[test]
fn host_bits_in_a_file_are_warned_of_there() {
    let lines: String = (0..7).map(|index| format!("\n 10.{index}.0.1/16")).collect();
    let folder = Folder::new(POLICY.as_bytes(), Some(lines.as_bytes()));
    let warnings = folder.load().warnings;
    assert_eq!(warnings.len(), 6);
    assert_eq!(warnings[1].file, folder.path("peers.txt"));
    assert_eq!((warnings[1].line, warnings[1].column), (Some(3), Some(2)));
    assert!(warnings[1].to_string().contains("`10.1.0.1/16` has bits set"));
    assert!(warnings[5].to_string().contains("and 2 more prefixes"));
}

#[test]
fn an_empty_file_lets_nobody_in() {
    for content in [&b""[..], b"# nobody yet\n", b"\xEF\xBB\xBF"] {
        let folder = Folder::new(POLICY.as_bytes(), Some(content));
        let loaded = folder.load();
        assert_eq!(folder.peers(), []);
        assert_eq!(loaded.warnings.len(), 1);
        assert!(
            loaded.warnings[0].to_string().contains("the set `peers` is empty: it lets nobody in")
        );
        assert_eq!(loaded.warnings[0].field.as_deref(), Some("rule[0].from[0]"));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = Folder::new(POLICY.as_bytes(), None);
    let path = folder.path("peers.txt");
    let check = |sentence: &str| {
        let error = folder.error();
        assert_eq!(error.file, folder.path("nodewall.toml"));
        assert_eq!((error.line, error.column), (Some(2), Some(18)), "{error}");
        assert_eq!(error.field.as_deref(), Some("sets.peers.file"));
        assert_eq!(error.set.as_deref(), Some("peers"));
        let expected = format!("the set file `{}` {sentence}", path.display());
        assert!(error.kind.to_string().starts_with(&expected), "{error}");
    };
    check("does not exist; make it, or correct the path");

    fs::create_dir(&path).unwrap_or_else(|error| panic!("{error}"));
    check("is a directory; name a file");
    fs::remove_dir(&path).unwrap_or_else(|error| panic!("{error}"));

    symlink("/dev/zero", &path).unwrap_or_else(|error| panic!("{error}"));
    check("is not a regular file; name one");
    fs::remove_file(&path).unwrap_or_else(|error| panic!("{error}"));

    symlink("peers.txt", &path).unwrap_or_else(|error| panic!("{error}"));
    check("cannot be read: ");
}

#[test]
fn the_reasons_of_the_operating_system_are_told_apart() {
    use std::io::{Error, ErrorKind};
    for (kind, expected) in [
        (ErrorKind::NotFound, ReadError::Missing),
        (ErrorKind::NotADirectory, ReadError::Missing),
        (ErrorKind::PermissionDenied, ReadError::Denied),
        (ErrorKind::IsADirectory, ReadError::Directory),
    ] {
        assert_eq!(ReadError::from(Error::from(kind)), expected);
    }
    assert!(matches!(ReadError::from(Error::from(ErrorKind::TimedOut)), ReadError::Other(_)));
    assert!(ReadError::Denied.to_string().contains("permission denied; let the user"));
}

#[test]
fn a_file_that_is_no_text_or_too_large_is_refused() {
    let folder = Folder::new(POLICY.as_bytes(), Some(b"10.0.0.1\n10.0.0.2 # \xC3\xA9\xFF\n"));
    let error = folder.error();
    assert_eq!(error.file, folder.path("peers.txt"));
    assert_eq!((error.line, error.column), (Some(2), Some(13)), "{error}");
    assert_eq!(error.field.as_deref(), Some("sets.peers"));
    assert_eq!(error.kind, ErrorKind::NotUtf8);

    let file = fs::File::create(folder.path("peers.txt")).unwrap_or_else(|error| panic!("{error}"));
    file.set_len((64 << 20) + 1).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(folder.error().kind, ErrorKind::SetFile { reason: ReadError::TooLarge, .. }));
}

#[test]
fn the_policy_file_itself_may_be_at_fault() {
    let folder = Folder::new(b"mode = \"enforce\"\n# \xFF\n", None);
    let error = folder.error();
    assert_eq!((error.line, error.column), (Some(2), Some(3)));
    assert_eq!(error.kind, ErrorKind::NotUtf8);
    assert!(
        error
            .to_string()
            .ends_with("nodewall.toml:2:3: this is not UTF-8 text; save the file as UTF-8")
    );

    let Err(Errors(errors)) = load(&folder.path("other.toml")) else { panic!("no error") };
    let shown = errors[0].to_string();
    assert!(
        shown.ends_with("other.toml: the policy file does not exist; make it, or correct the path"),
        "{shown}"
    );
    assert_eq!((errors[0].line, errors[0].field.as_deref()), (None, None));
    let Err(Errors(errors)) = load(&folder.path("")) else { panic!("no error") };
    assert_eq!(errors[0].kind, ErrorKind::Policy(ReadError::Directory));
}

#[test]
fn paths_are_relative_to_the_policy() {
    let mut asked = Vec::new();
    let mut read = |path: &Path| {
        asked.push(path.to_owned());
        Ok(b"10.0.0.1".to_vec())
    };
    let text = "[sets]\na = { file = \"a.txt\" }\nb = { file = \"/srv/b.txt\" }\n[sets.c]\nfile = \"lists/c.txt\"\n";
    let loaded =
        parse_with(text, Path::new(FILE), &mut read).unwrap_or_else(|errors| panic!("{errors}"));
    let expected =
        ["/etc/nodewall/a.txt", "/srv/b.txt", "/etc/nodewall/lists/c.txt"].map(PathBuf::from);
    assert_eq!(asked, expected);
    let paths: Vec<_> = loaded.set_files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(paths, expected);

    // Errors and watchers name absolute paths, wherever the program was started.
    let here = std::env::current_dir().unwrap_or_else(|error| panic!("{error}"));
    let mut read = |path: &Path| {
        assert_eq!(path, here.join("peers.txt"));
        Ok(Vec::new())
    };
    assert!(parse_with(POLICY, Path::new("nodewall.toml"), &mut read).is_ok());
}

#[test]
fn errors_of_files_are_told_where_the_policy_names_them() {
    let text = "tables.bans = 0\n[sets]\nb = { file = \"b.txt\" }\na = { file = \"a.txt\" }\nc = [\"bad!\"]\n";
    let mut read = |path: &Path| match path.ends_with("a.txt") {
        true => Ok(b"10.0.0.1\nbad!\n10.0.0.300\n".to_vec()),
        false => Err(ReadError::Denied),
    };
    let Err(Errors(errors)) = parse_with(text, Path::new(FILE), &mut read) else {
        panic!("no error")
    };
    let places: Vec<_> = errors
        .iter()
        .map(|error| (error.field.as_deref(), error.line, error.set.as_deref()))
        .collect();
    assert_eq!(
        places,
        [
            (Some("tables.bans"), Some(1), None),
            (Some("sets.b.file"), Some(3), Some("b")),
            (Some("sets.a"), Some(2), Some("a")),
            (Some("sets.a"), Some(3), Some("a")),
            (Some("sets.c[0]"), Some(5), None),
        ]
    );
}
