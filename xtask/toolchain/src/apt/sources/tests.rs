use super::*;

const DEBIAN: &str = "\
# the machine's own
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
";

#[test]
fn stanzas_are_read() {
    let entries = stanzas(DEBIAN);
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].uri, "http://mirror.example/debian");
    assert_eq!(entries[0].suites, ["bookworm", "bookworm-updates"]);
    assert_eq!(entries[0].components, ["main", "contrib"]);
    assert_eq!(
        entries[0].options,
        [("Signed-By", "/usr/share/keyrings/debian-archive-keyring.gpg".to_owned())]
    );
    assert!(entries[1].options.is_empty());
}

#[test]
fn each_address_of_a_stanza_is_an_entry() {
    let text = DEBIAN.replace(
        "URIs: http://mirror.example/debian\n",
        "URIs: http://a/debian\n http://b/debian\n",
    );
    let addresses: Vec<_> = stanzas(&text).into_iter().map(|entry| entry.uri).collect();
    assert_eq!(
        addresses,
        ["http://a/debian", "http://b/debian", "http://mirror.example/debian-security"]
    );
}

#[test]
fn disabled_and_source_stanzas_do_not_count() {
    assert_eq!(
        stanzas("Enabled: no\nTypes: deb\nURIs: http://a\nSuites: sid\nComponents: main\n"),
        []
    );
    assert_eq!(stanzas("Types: deb-src\nURIs: http://a\nSuites: sid\nComponents: main\n"), []);
    assert_eq!(stanzas(""), []);
    assert_eq!(stanzas("no colon\n continued\n"), []);
}

#[test]
fn a_comment_within_a_stanza_does_not_end_it() {
    let text = "types: deb\n# why\nURIs: http://a/debian\nsuites: sid\ncomponents: main\n";
    assert_eq!(stanzas(text).len(), 1);
}

#[test]
fn a_key_in_full_is_passed_on_as_it_is() {
    let key =
        " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINB\n -----END PGP PUBLIC KEY BLOCK-----";
    let text = format!(
        "Types: deb\nURIs: http://a/debian\nSuites: sid\nComponents: main\nSigned-By:\n{key}\n"
    );
    let stanza = stanzas(&text)[0].stanza("trixie-backports");
    assert!(stanza.ends_with(&format!("Signed-By: \n{key}\n")), "{stanza}");
    assert_eq!(stanzas(&stanza)[0].options, stanzas(&text)[0].options);
}

#[test]
fn lines_are_read() {
    let entry = one_line(
        "deb [arch=amd64 signed-by=/a.gpg,/b.gpg] http://a/debian/ bookworm main contrib # why",
    )
    .expect("an entry");
    assert_eq!(entry.uri, "http://a/debian/");
    assert_eq!(entry.suites, ["bookworm"]);
    assert_eq!(entry.components, ["main", "contrib"]);
    assert_eq!(entry.options, [("Signed-By", "/a.gpg /b.gpg".to_owned())]);
    assert_eq!(
        one_line("deb\thttp://a/debian  sid   main").map(|entry| entry.uri),
        Some("http://a/debian".to_owned())
    );
}

#[test]
fn other_lines_are_none() {
    for line in [
        "",
        "# deb http://a sid main",
        "deb-src http://a sid main",
        "deb [signed-by=/a http://a sid main",
        "deb http://a",
        "debian",
    ] {
        assert_eq!(one_line(line), None, "{line}");
    }
}

#[test]
fn security_suites_have_a_mirror_of_their_own() {
    let entries = stanzas(DEBIAN);
    let of = |suite| mirror(&entries, suite).map(|entry| entry.uri);
    assert_eq!(of("trixie-backports").as_deref(), Some("http://mirror.example/debian"));
    assert_eq!(of("bookworm-security").as_deref(), Some("http://mirror.example/debian-security"));
}

#[test]
fn a_stranger_with_debians_words_comes_after_debian() {
    let lines = [
        "deb https://packages.example bookworm main",
        "deb https://other.example/apt focal main",
        "deb mirror+file:/etc/apt/mirrors/debian.list bookworm main",
    ];
    let entries: Vec<_> = lines.into_iter().filter_map(one_line).collect();
    let of = |entries: &[Entry]| mirror(entries, "sid").map(|entry| entry.uri);
    assert_eq!(of(&entries).as_deref(), Some("mirror+file:/etc/apt/mirrors/debian.list"));
    assert_eq!(of(&entries[..2]).as_deref(), Some("https://packages.example"));
    assert_eq!(of(&entries[1..2]), None);
}
