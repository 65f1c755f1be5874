//! From a schema to C: a struct of settings, and the table by which it is filled.

use serde_json::Value;

use crate::exit::Failure;
use crate::plugin::failed;

/// The settings of an entry, as C declares and describes them.
pub struct CSettings {
    /// The declaration of `PREFIX_settings`, with enumerators of choices before it.
    pub declaration: String,
    /// Definitions of the table `PREFIX_table` and its length, `PREFIX_count`.
    pub table: String,
}

/// A setting, read from its schema.
struct Setting {
    description: String,
    member: String,
    row: String,
    before: String,
    choices: String,
}

/// Words that cannot name a member.
const KEYWORDS: [&str; 36] = [
    "auto", "bool", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
    "false", "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short",
    "signed", "sizeof", "static", "struct", "switch", "true", "typedef", "union", "unsigned", "void", "volatile",
];

/// Whether C can have something of that name.
pub fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    let is_start = |char: char| char.is_ascii_alphabetic() || char == '_';
    chars.next().is_some_and(is_start)
        && chars.all(|char| char.is_ascii_alphanumeric() || char == '_')
        && !KEYWORDS.contains(&name)
}

/// A text as C writes it; what is not plain is written in octal, which ends after three digits.
pub fn literal(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'"' => "\\\"".to_owned(),
        b'\\' => "\\\\".to_owned(),
        b' '..=b'~' if byte != b'?' => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// The settings of the entry whose names in C begin with `prefix`.
///
/// # Errors
/// When the schema has a setting that a member of a struct cannot hold.
pub fn settings(prefix: &str, schema: &Value) -> Result<CSettings, Failure> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let settings = properties
        .map(|(name, property)| setting(prefix, name, property, required.contains(&name.as_str())))
        .collect::<Result<Vec<Setting>, Failure>>()?;
    let mut declaration: String = settings.iter().map(|setting| setting.before.as_str()).collect();
    declaration.push_str("typedef struct {\n");
    for Setting { description, member, .. } in &settings {
        declaration.push_str(&format!("  {member};{}\n", comment(description)));
    }
    if settings.is_empty() {
        declaration.push_str("  char none; /* C wants a member */\n");
    }
    declaration.push_str(&format!("}} {prefix}_settings;\n"));
    let mut table: String = settings.iter().map(|setting| setting.choices.as_str()).collect();
    table.push_str(&format!("static const anneal_setting {prefix}_table[] = {{\n"));
    for Setting { row, .. } in &settings {
        table.push_str(&format!("    {row},\n"));
    }
    if settings.is_empty() {
        table.push_str("    {0},\n");
    }
    table.push_str("};\n");
    table.push_str(&format!("enum {{ {prefix}_count = {} }};\n", settings.len()));
    Ok(CSettings { declaration, table })
}

fn comment(text: &str) -> String {
    let text = text.replace("*/", "* /").replace(['\n', '\r'], " ");
    if text.is_empty() { text } else { format!(" /* {text} */") }
}

fn setting(prefix: &str, name: &str, property: &Value, is_required: bool) -> Result<Setting, Failure> {
    let refuse = |what: &str, help: &str| failed(format!("the setting `{name}` {what}"), help.to_owned());
    if !is_identifier(name) {
        return Err(refuse("has a name that C does not know", "use letters, digits and `_`, and no keyword"));
    }
    let choices: Option<Vec<&str>> =
        property["enum"].as_array().map(|all| all.iter().filter_map(Value::as_str).collect());
    let (of, member) = match (property["type"].as_str(), &choices) {
        (Some("number"), None) => ("ANNEAL_NUMBER", format!("double {name}")),
        (Some("integer"), None) => ("ANNEAL_INTEGER", format!("int64_t {name}")),
        (Some("boolean"), None) => ("ANNEAL_BOOLEAN", format!("bool {name}")),
        (Some("string"), Some(_)) => ("ANNEAL_CHOICE", format!("int {name}")),
        _ => {
            let help = "in C a setting is a number, an integer, a boolean, or one of an `enum` of texts";
            return Err(refuse("is of a type that has no place in a struct", help));
        }
    };
    let fallback = match (&property["default"], &choices) {
        (Value::Null, _) if is_required => Some(0.0),
        (Value::String(default), Some(all)) => all.iter().position(|choice| choice == default).map(|at| at as f64),
        (default, _) => default.as_f64().or(default.as_bool().map(|on| f64::from(u8::from(on)))),
    };
    let help = "write a `default` of its type, or its name into `required`";
    let fallback = fallback.ok_or_else(|| refuse("has no default, and may be absent", help))?;
    let choices = choices.unwrap_or_default();
    let (min, max) = (bound(property, "minimum", "exclusiveMinimum"), bound(property, "maximum", "exclusiveMaximum"));
    let wanted = wanted(property, &choices);
    let list = format!("{prefix}_{name}_choices");
    let row = format!(
        "{{.name = \"{name}\", .wanted = {}, .type = {of}, .offset = offsetof({prefix}_settings, {name}), \
         .is_required = {is_required}, .fallback = {fallback:?}, .min = {}, .max = {}, .min_is_out = {}, \
         .max_is_out = {}{}}}",
        literal(&wanted),
        min.map_or("-INFINITY".to_owned(), |(bound, _)| format!("{bound:?}")),
        max.map_or("INFINITY".to_owned(), |(bound, _)| format!("{bound:?}")),
        min.is_some_and(|(_, is_out)| is_out),
        max.is_some_and(|(_, is_out)| is_out),
        if choices.is_empty() {
            String::new()
        } else {
            format!(", .choices = {list}, .num_choices = {}", choices.len())
        },
    );
    let described = property["description"].as_str().unwrap_or_default().to_owned();
    Ok(Setting {
        description: described,
        member,
        row,
        before: enumerators(prefix, name, &choices),
        choices: if choices.is_empty() {
            String::new()
        } else {
            let all: Vec<String> = choices.iter().map(|choice| literal(choice)).collect();
            format!("static const char *const {list}[] = {{{}}};\n", all.join(", "))
        },
    })
}

/// `enum { PREFIX_NAME_CHOICE, .. }`, in the order of the schema.
fn enumerators(prefix: &str, name: &str, choices: &[&str]) -> String {
    if choices.is_empty() {
        return String::new();
    }
    let word = |choice: &&str| {
        let word: String = choice.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).collect();
        format!("{prefix}_{name}_{word}")
    };
    format!("enum {{ {} }};\n", choices.iter().map(word).collect::<Vec<_>>().join(", "))
}

/// The stricter of an inclusive and an exclusive bound that a schema gives, and whether it is exclusive.
fn bound(property: &Value, inclusive: &str, exclusive: &str) -> Option<(f64, bool)> {
    let out = property[exclusive].as_f64().map(|bound| (bound, true));
    out.or(property[inclusive].as_f64().map(|bound| (bound, false)))
}

/// What a setting may be, in words.
fn wanted(property: &Value, choices: &[&str]) -> String {
    let mut words = match property["type"].as_str() {
        Some("integer") => "a whole number".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("number") => "a number".to_owned(),
        _ => format!("one of {}", choices.join(", ")),
    };
    let bounds = [
        ("minimum", "of at least"),
        ("exclusiveMinimum", "of more than"),
        ("maximum", "of at most"),
        ("exclusiveMaximum", "of less than"),
    ];
    let said: Vec<String> =
        bounds.iter().filter_map(|(key, phrase)| Some(format!("{phrase} {}", property[key].as_f64()?))).collect();
    if !said.is_empty() {
        words = format!("{words} {}", said.join(" and "));
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_become_members_and_rows() {
        let schema = json!({ "required": ["steps"], "properties": {
            "rho": { "type": "number", "exclusiveMinimum": 0.0, "maximum": 100, "default": 7, "description": "How */ steep." },
            "steps": { "type": "integer", "minimum": 1 },
            "mode": { "type": "string", "enum": ["fast", "very-slow"], "default": "very-slow" },
            "loud": { "type": "boolean", "default": true },
        } });
        let CSettings { declaration, table } = settings("grid", &schema).unwrap();
        assert!(declaration.contains("double rho; /* How * / steep. */"), "{declaration}");
        assert!(declaration.contains("enum { grid_mode_fast, grid_mode_very_slow };"), "{declaration}");
        assert!(declaration.contains("int64_t steps;") && declaration.contains("bool loud;"), "{declaration}");
        assert!(table.contains(".min = 0.0, .max = 100.0, .min_is_out = true, .max_is_out = false"), "{table}");
        assert!(table.contains("a number of more than 0 and of at most 100"), "{table}");
        assert!(table.contains(".is_required = true, .fallback = 0.0, .min = 1.0, .max = INFINITY"), "{table}");
        assert!(table.contains("{\"fast\", \"very-slow\"}") && table.contains(".fallback = 1.0"), "{table}");
        assert!(table.contains("grid_count = 4"), "{table}");
    }

    #[test]
    fn what_a_struct_cannot_hold_is_refused() {
        let refused = |name: &str, property: Value| {
            let schema = json!({ "properties": { name: property } });
            settings("grid", &schema).err().map(|failure| failure.message).unwrap_or_default()
        };
        assert!(refused("list", json!({ "type": "array", "default": [] })).contains("an `enum` of texts"));
        assert!(refused("free", json!({ "type": "number" })).contains("or its name into `required`"));
        assert!(refused("int", json!({ "type": "number", "default": 1 })).contains("no keyword"));
        assert!(refused("a-b", json!({ "type": "number", "default": 1 })).contains("letters, digits and `_`"));
    }

    #[test]
    fn literals_hold_any_text() {
        assert_eq!(literal("a\"?\\\u{e9}1"), r#""a\"\077\\\303\2511""#);
    }
}
