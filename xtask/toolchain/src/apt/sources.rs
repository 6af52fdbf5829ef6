//! Apt's own lists of sources, in both their forms (sources.list(5)), and which entry of them is Debian's mirror.

use std::fmt::Write as _;

/// Options of an entry that decide whether its lists are trusted, in the spelling of the stanza form.
const OPTIONS: [&str; 3] = ["Signed-By", "Trusted", "Check-Valid-Until"];

/// Suites of Debian, without what may follow a dash.
const SUITES: [&str; 10] = [
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "sid",
];

/// One place that binary packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
    /// Those of [`OPTIONS`] that are set. A value may have several lines, as a key given in full has.
    options: Vec<(&'static str, String)>,
}

impl Entry {
    /// A stanza for another suite of the same mirror.
    pub fn stanza(&self, suite: &str) -> String {
        let mut text =
            format!("Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n", self.uri);
        for (name, value) in &self.options {
            // Writing into a string does not fail.
            let _ = writeln!(text, "{name}: {value}");
        }
        text
    }

    fn is_debian(&self, security: bool) -> bool {
        let has_main = self.components.iter().any(|component| component == "main");
        let is_known = self.suites.iter().any(|suite| {
            let base = suite.split(['-', '/']).next().unwrap_or(suite);
            SUITES.contains(&base) && is_security(suite) == security
        });
        has_main && is_known && !self.uri.starts_with("cdrom:")
    }
}

/// The entry whose mirror should have `suite`. Debian keeps its security suites apart from the others.
pub fn mirror(entries: &[Entry], suite: &str) -> Option<Entry> {
    let fitting = || entries.iter().filter(|entry| entry.is_debian(is_security(suite)));
    // Others too offer packages for Debian's suites under component names of Debian; mirrors mostly carry its name.
    fitting()
        .find(|entry| entry.uri.trim_end_matches('/').contains("/debian"))
        .or_else(|| fitting().next())
        .cloned()
}

fn is_security(suite: &str) -> bool {
    suite.ends_with("-security") || suite.ends_with("/updates")
}

/// The stanza form: `Key: value`, continued by lines that start with a space; stanzas apart by empty lines.
pub fn stanzas(text: &str) -> Vec<Entry> {
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).flat_map(stanza).collect()
}

fn stanza(lines: &[&str]) -> Vec<Entry> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((key, value)) = line.split_once(':') {
            fields.push((key.trim(), value.trim().to_owned()));
        }
    }
    let value = |name: &str| {
        fields
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    };
    let words = |name: &str| -> Vec<String> {
        value(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let is_off = value("Enabled").is_some_and(is_false);
    if is_off || !words("Types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let options: Vec<_> =
        OPTIONS.into_iter().filter_map(|name| Some((name, value(name)?.to_owned()))).collect();
    words("URIs")
        .into_iter()
        .map(|uri| Entry {
            uri,
            suites: words("Suites"),
            components: words("Components"),
            options: options.clone(),
        })
        .collect()
}

fn is_false(word: &str) -> bool {
    ["no", "false", "without", "off", "disable"].iter().any(|no| word.eq_ignore_ascii_case(no))
}

/// The older form: `deb [option=value …] URI suite component…`.
pub fn one_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let options = options
        .split_whitespace()
        .filter_map(|option| option.split_once('='))
        .filter_map(|(name, value)| {
            let name = OPTIONS.into_iter().find(|known| known.eq_ignore_ascii_case(name))?;
            Some((name, value.replace(',', " ")))
        })
        .collect();
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Entry {
        uri: words.next()?,
        suites: vec![words.next()?],
        components: words.collect(),
        options,
    })
}

#[cfg(test)]
mod tests;
