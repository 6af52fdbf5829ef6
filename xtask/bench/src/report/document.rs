//! Tables in a document that people write: each between two lines that name it.

use anyhow::{Context as _, Result};

/// The text with each table in its place.
pub fn fill(text: &str, tables: &[(&str, String)]) -> Result<String> {
    let mut text = text.to_owned();
    for (name, table) in tables {
        let (begin, end) = (format!("<!-- bench: {name} -->\n"), format!("<!-- end: {name} -->"));
        let missing = || format!("the lines `{}` and `{end}` are not in it", begin.trim_end());
        let from = text.find(&begin).with_context(missing)? + begin.len();
        let to = from + text[from..].find(&end).with_context(missing)?;
        text.replace_range(from..to, &format!("\n{}\n", table.trim_end()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn a_table_takes_the_place_of_the_one_before() {
        let before = "a\n<!-- bench: x -->\nold\n<!-- end: x -->\nb <!-- end: x -->\n";
        let after = fill(before, &[("x", "new\n".to_owned())]).unwrap();
        assert_eq!(after, "a\n<!-- bench: x -->\n\nnew\n<!-- end: x -->\nb <!-- end: x -->\n");
        assert_eq!(fill(&after, &[("x", "new".to_owned())]).unwrap(), after);
    }

    #[test]
    fn a_document_without_its_place_is_an_error() {
        let error = fill("<!-- bench: x -->\n", &[("x", String::new())]).unwrap_err();
        assert!(error.to_string().contains("<!-- end: x -->"), "{error}");
    }
}
