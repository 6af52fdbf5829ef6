//! The path of a field: `rule[2].ports[0]`.

use std::fmt;

/// A path from the top of the policy, kept as links on the stack: it becomes
/// text only when something is wrong.
#[derive(Clone, Copy)]
pub(super) enum Field<'a> {
    Top,
    Key(&'a Field<'a>, &'a str),
    Item(&'a Field<'a>, usize),
}

impl<'a> Field<'a> {
    pub fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    pub fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Top => Ok(()),
            Self::Key(parent, key) => {
                if !matches!(parent, Self::Top) {
                    write!(f, "{parent}.")?;
                }
                if !key.is_empty()
                    && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
                {
                    f.write_str(key)
                } else {
                    // As TOML wants such a key to be written.
                    write!(f, "{key:?}")
                }
            }
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_the_file() {
        let rule = Field::Top.key("rule");
        let third = rule.item(2);
        let ports = third.key("ports");
        assert_eq!(ports.item(0).to_string(), "rule[2].ports[0]");
        assert_eq!(Field::Top.key("sets").key("a b").to_string(), "sets.\"a b\"");
        assert_eq!(Field::Top.to_string(), "");
    }
}
