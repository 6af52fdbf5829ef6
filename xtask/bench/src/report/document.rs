//! Tables in a document that people write: each between two lines that name it.

use anyhow::{Context as _, Result, ensure};

/// The text with those tables for which it has a place.
pub fn fill(text: &str, tables: &[(&str, String)]) -> Result<String> {
    let mut text = text.to_owned();
    let mut filled = 0;
    for (name, table) in tables {
        let (begin, end) = (format!("<!-- bench: {name} -->\n"), format!("<!-- end: {name} -->"));
        let Some(place) = text.find(&begin) else { continue };
        let from = place + begin.len();
        let to = text[from..].find(&end).with_context(|| format!("there is no line `{end}`"))?;
        text.replace_range(from..from + to, &format!("\n{}\n\n", table.trim_end()));
        filled += 1;
    }
    ensure!(filled > 0, "there is no line such as `<!-- bench: floods -->`, which begins a table");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn a_table_takes_the_place_of_the_one_before() {
        let before = "a\n<!-- bench: x -->\nold\n<!-- end: x -->\nb <!-- end: x -->\n";
        let after = fill(before, &[("x", "new\n".to_owned())]).unwrap();
        assert_eq!(after, "a\n<!-- bench: x -->\n\nnew\n\n<!-- end: x -->\nb <!-- end: x -->\n");
        assert_eq!(fill(&after, &[("x", "new".to_owned())]).unwrap(), after);
    }

    #[test]
    fn a_document_without_its_place_is_an_error() {
        let error = fill("<!-- bench: x -->\n", &[("x", String::new())]).unwrap_err();
        assert!(error.to_string().contains("<!-- end: x -->"), "{error}");
        let error = fill("nothing\n", &[("x", String::new())]).unwrap_err();
        assert!(error.to_string().contains("<!-- bench: "), "{error}");
    }
}
