//! Where in a config's text its keys and values stand.

use std::ops::Range;

use toml_edit::{Document, InlineTable, Item, Key, Table, Value};

/// A setting, as it is written.
#[derive(Debug, Clone)]
pub struct Site {
    /// As messages name it: `model.embedders.0.dim`.
    pub key: String,
    /// Where the key itself is written; none for the entries of an array.
    pub name: Option<Range<usize>>,
    /// Where the value is written.
    pub at: Range<usize>,
    /// The value.
    pub value: Value,
    /// What its table chooses: the `kind` or `plugin` beside it.
    pub component: String,
}

impl Site {
    /// The key without its table: `dim`. Of an entry of an array it is the array's.
    pub fn bare(&self) -> &str {
        let segments = self.key.rsplit('.');
        segments.into_iter().find(|segment| segment.parse::<usize>().is_err()).unwrap_or_default()
    }

    /// Whether it stands in the table `table` or in one below it.
    pub fn is_in(&self, table: &str) -> bool {
        self.key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
    }
}

/// The line of a place in a text, from 1.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// All settings of `text`, entries of arrays too.
pub fn sites(text: &str) -> Vec<Site> {
    let document = Document::parse(text).unwrap();
    let mut sites = Vec::new();
    table(document.as_table(), "", &mut sites);
    sites
}

/// Places of the last names in the headers of tables, each with the key that the table has: `[model.network]` and
/// `model.network`. Tables of arrays have the array's.
pub fn headers(text: &str) -> Vec<(String, Range<usize>)> {
    let mut start = 0;
    let mut found = Vec::new();
    for line in text.split_inclusive('\n') {
        if line.starts_with('[') {
            let open = line.len() - line.trim_start_matches('[').len();
            let close = line.find(']').unwrap();
            let key = &line[open..close];
            let last = key.rfind('.').map_or(open, |dot| open + dot + 1);
            found.push((key.to_owned(), start + last..start + close));
        }
        start += line.len();
    }
    found
}

fn below(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

fn table(table_: &Table, at: &str, sites: &mut Vec<Site>) {
    let component = component(|name| table_.get(name).and_then(Item::as_str));
    for (name, item) in table_ {
        let at = below(at, name);
        match item {
            Item::Value(found) => setting(table_.key(name), found, at, &component, sites),
            Item::Table(inner) => table(inner, &at, sites),
            Item::ArrayOfTables(tables) => {
                tables.iter().enumerate().for_each(|(i, inner)| table(inner, &format!("{at}.{i}"), sites));
            }
            Item::None => {}
        }
    }
}

fn inline(table: &InlineTable, at: &str, sites: &mut Vec<Site>) {
    let component = component(|name| table.get(name).and_then(Value::as_str));
    for (name, found) in table {
        setting(table.key(name), found, below(at, name), &component, sites);
    }
}

fn setting(key: Option<&Key>, value: &Value, at: String, component: &str, sites: &mut Vec<Site>) {
    let place = value.span().unwrap();
    let component = component.to_owned();
    sites.push(Site { key: at.clone(), name: key.and_then(Key::span), at: place, value: value.clone(), component });
    match value {
        Value::InlineTable(inner) => inline(inner, &at, sites),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                setting(None, item, format!("{at}.{i}"), "", sites);
            }
        }
        _ => {}
    }
}

fn component<'a>(get: impl Fn(&str) -> Option<&'a str>) -> String {
    get("kind").or_else(|| get("plugin")).unwrap_or_default().to_owned()
}

#[test]
fn places_are_those_of_the_text() {
    let text = "a = 1\n[t.u]\nkind = \"k\"\nb = { c = [2, 3] }\n[[v.w]]\nd = true\n[[v.w]]\nd = false\n";
    let sites = sites(text);
    let keys: Vec<(&str, usize, &str)> =
        sites.iter().map(|site| (site.key.as_str(), line_of(text, site.at.start), &text[site.at.clone()])).collect();
    let want = [
        ("a", 1, "1"),
        ("t.u.kind", 3, "\"k\""),
        ("t.u.b", 4, "{ c = [2, 3] }"),
        ("t.u.b.c", 4, "[2, 3]"),
        ("t.u.b.c.0", 4, "2"),
        ("t.u.b.c.1", 4, "3"),
        ("v.w.0.d", 6, "true"),
        ("v.w.1.d", 8, "false"),
    ];
    assert_eq!(keys, want);
    assert_eq!((sites[2].component.as_str(), sites[4].bare(), sites[2].name.clone()), ("k", "c", Some(23..24)));
    let headers: Vec<(String, &str)> = headers(text).into_iter().map(|(key, at)| (key, &text[at])).collect();
    assert_eq!(headers, [("t.u".to_owned(), "u"), ("v.w".to_owned(), "w"), ("v.w".to_owned(), "w")]);
}
