//! How deep settings are nested, found without a parser that calls itself: a component's stack is small.

/// Lists and tables in each other that settings may have.
pub const NESTED: usize = 32;

/// Whether JSON has more than `levels` brackets open at once.
pub fn is_nested_deeper(json: &str, levels: usize) -> bool {
    let (mut open, mut in_text, mut escaped) = (0_usize, false, false);
    json.bytes().any(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => open += 1,
            b']' | b'}' if !in_text => open = open.saturating_sub(1),
            _ => {}
        }
        open > levels
    })
}

#[cfg(test)]
mod tests {
    use super::is_nested_deeper;

    #[test]
    fn only_open_brackets_outside_of_texts_count() {
        let nested = |levels: usize| format!("{}0{}", "[".repeat(levels), "]".repeat(levels));
        assert!(!is_nested_deeper(&nested(32), 32) && is_nested_deeper(&nested(33), 32));
        let texts = format!(r#"{{"a\"[[": "{}", "b": [{{}}, {{}}, []]}}"#, "[".repeat(100));
        assert!(!is_nested_deeper(&texts, 3) && is_nested_deeper(&texts, 2), "{texts}");
        assert!(!is_nested_deeper(&"[]".repeat(100), 1));
    }
}
