//! Walking the TOML document: tables, lists and values that know their path and place.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ErrorKind;
use super::field::Field;
use super::report::Report;
use super::schema::Schema;

/// A table whose keys have been checked against its [`Schema`].
pub(super) struct Section<'f, 'd> {
    pub field: Field<'f>,
    table: &'d DeTable<'d>,
    /// Where it begins, in bytes.
    pub at: usize,
}

impl<'f, 'd> Section<'f, 'd> {
    /// Reports every key of `table` that is not one of `schema`.
    pub fn new(
        field: Field<'f>,
        table: &'d DeTable<'d>,
        at: usize,
        schema: &Schema,
        report: &mut Report<'_>,
    ) -> Self {
        for key in table.keys() {
            if let Some(kind) = schema.judge(key.get_ref()) {
                report.error(key.span().start, field.key(key.get_ref()), kind);
            }
        }
        Self { field, table, at }
    }

    /// The value of `key`, if it is there.
    pub fn get<'s>(&'s self, key: &str) -> Option<Entry<'s, 'd>> {
        let (key, value) = self.table.get_key_value(key)?;
        Some(Entry::new(self.field.key(key.get_ref()), value))
    }

    /// The value of `key`; reports where it is missing.
    pub fn require<'s>(
        &'s self,
        key: &'static str,
        example: &'static str,
        report: &mut Report<'_>,
    ) -> Option<Entry<'s, 'd>> {
        let entry = self.get(key);
        if entry.is_none() {
            report.error(self.at, self.field.key(key), ErrorKind::MissingKey { key, example });
        }
        entry
    }

    /// Where the value of `key` begins, in bytes; where the table begins if it is not there.
    pub fn at_key(&self, key: &str) -> usize {
        self.table.get(key).map_or(self.at, |value| value.span().start)
    }
}

/// A value with its path and place.
#[derive(Clone, Copy)]
pub(super) struct Entry<'f, 'd> {
    pub field: Field<'f>,
    /// Where it begins, in bytes.
    pub at: usize,
    value: &'d DeValue<'d>,
}

impl<'f, 'd> Entry<'f, 'd> {
    pub fn new(field: Field<'f>, value: &'d Spanned<DeValue<'d>>) -> Self {
        Self { field, at: value.span().start, value: value.get_ref() }
    }

    /// The table with any keys; reports what is no table.
    pub fn table(
        &self,
        report: &mut Report<'_>,
        expected: &'static str,
    ) -> Option<&'d DeTable<'d>> {
        match self.value {
            DeValue::Table(table) => Some(table),
            _ => self.wrong_type(report, expected),
        }
    }

    /// The table with the keys of `schema`; reports what is no table.
    pub fn section(
        &self,
        schema: &Schema,
        report: &mut Report<'_>,
        expected: &'static str,
    ) -> Option<Section<'f, 'd>> {
        let table = self.table(report, expected)?;
        Some(Section::new(self.field, table, self.at, schema, report))
    }

    /// The values of the list; reports what is no list.
    pub fn items<'s>(
        &'s self,
        report: &mut Report<'_>,
        expected: &'static str,
    ) -> Option<Items<'s, 'd>> {
        match self.value {
            DeValue::Array(array) => Some(Items { parent: &self.field, values: array, next: 0 }),
            _ => self.wrong_type(report, expected),
        }
    }

    /// The text; reports what is none.
    pub fn string(&self, report: &mut Report<'_>, expected: &'static str) -> Option<&'d str> {
        match self.as_str() {
            None => self.wrong_type(report, expected),
            text => text,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&'d str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is true or false, if it is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        self.value.as_bool()
    }

    /// Whether it is a table.
    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// Whether it is an integer.
    pub fn is_integer(&self) -> bool {
        self.value.is_integer()
    }

    /// The integer, those beyond 128 bits as the largest or smallest;
    /// reports what is none.
    pub fn integer(&self, report: &mut Report<'_>, expected: &'static str) -> Option<i128> {
        match self.value {
            DeValue::Integer(integer) => {
                let text = integer.as_str();
                let beyond = if text.starts_with('-') { i128::MIN } else { i128::MAX };
                // The parser has checked the digits: only their number can be wrong.
                Some(i128::from_str_radix(text, integer.radix()).unwrap_or(beyond))
            }
            _ => self.wrong_type(report, expected),
        }
    }

    /// The integer from `least` to `most`; reports what is none.
    pub fn integer_in<T>(
        &self,
        least: T,
        most: T,
        report: &mut Report<'_>,
        expected: &'static str,
    ) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Copy + Into<u64>,
    {
        let number = self.integer(report, expected)?;
        match T::try_from(number) {
            Ok(number) if number >= least && number <= most => Some(number),
            _ => {
                let kind = ErrorKind::OutOfRange {
                    found: number.to_string(),
                    least: least.into(),
                    most: most.into(),
                };
                report.error(self.at, self.field, kind);
                None
            }
        }
    }

    /// Reports that the value is not what it should be.
    pub fn wrong_type<T>(&self, report: &mut Report<'_>, expected: &'static str) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a floating-point number",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        report.error(self.at, self.field, ErrorKind::WrongType { found, expected });
        None
    }
}

/// The values of a list, each with its path.
pub(super) struct Items<'f, 'd> {
    parent: &'f Field<'f>,
    values: &'d [Spanned<DeValue<'d>>],
    next: usize,
}

impl Items<'_, '_> {
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl<'f, 'd> Iterator for Items<'f, 'd> {
    type Item = Entry<'f, 'd>;

    fn next(&mut self) -> Option<Entry<'f, 'd>> {
        let index = self.next;
        let value = self.values.get(index)?;
        self.next += 1;
        Some(Entry::new(self.parent.item(index), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.values.len() - self.next;
        (left, Some(left))
    }
}
