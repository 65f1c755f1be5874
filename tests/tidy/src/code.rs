//! Rust source reduced to its code, so that rules are not fooled by comments and strings.

/// `text` with every comment, string and character literal blanked out. Lines keep their numbers.
pub fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => end_of_line(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => end_of_block_comment(&chars, at),
            '"' => end_of_string(&chars, at),
            'r' if !follows_word(&chars, at) && raw_string_hashes(&chars, at).is_some() => {
                end_of_raw_string(&chars, at)
            }
            '\'' => end_of_char(&chars, at),
            _ => at,
        };
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|&char| if char == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Lines (from 1) of `code` that hold `word` as a whole word.
pub fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    let holds = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            !line[..at].chars().next_back().is_some_and(is_part)
                && !line[at + word.len()..].chars().next().is_some_and(is_part)
        })
    };
    code.lines().enumerate().filter(|(_, line)| holds(line)).map(|(index, _)| index + 1).collect()
}

fn follows_word(chars: &[char], at: usize) -> bool {
    // `br"..."` is a raw string too; any other letter before makes the `r` part of a name.
    at.checked_sub(1).is_some_and(|before| {
        let char = chars[before];
        (char.is_alphanumeric() && char != 'b') || char == '_'
    })
}

fn end_of_line(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|&char| char == '\n').map_or(chars.len(), |len| at + len)
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0_u32, start);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The number of `#` of a raw string that starts with the `r` at `at`.
fn raw_string_hashes(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|&&char| char == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

fn end_of_raw_string(chars: &[char], start: usize) -> usize {
    let hashes = raw_string_hashes(chars, start).unwrap_or(0);
    let body = start + hashes + 2;
    let closes =
        |at: &usize| chars[*at] == '"' && chars[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes;
    (body..chars.len()).find(closes).map_or(chars.len(), |at| at + 1 + hashes)
}

/// The end of a character literal, or `at` for a lifetime.
fn end_of_char(chars: &[char], at: usize) -> usize {
    match chars.get(at + 1) {
        Some('\\') => chars[at + 3..].iter().position(|&char| char == '\'').map_or(chars.len(), |len| at + 4 + len),
        Some(_) if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        code_only(text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_strings_are_blanked() {
        assert_eq!(words("a // b\nc /* d /* e */ f */ g"), "a c g");
        assert_eq!(words(r#"a "b \" c" d"#), "a d");
        assert_eq!(words("a r#\"b \" c\"# d br\"e\" f"), "a d b f");
        assert_eq!(words("for r in x {}"), "for r in x {}");
    }

    #[test]
    fn a_lifetime_is_not_a_character() {
        assert_eq!(words("fn f<'a>(x: &'a str) { '\"'; '\\''; '\\u{1F}' }"), "fn f<'a>(x: &'a str) { ; ; }");
    }

    #[test]
    fn lines_keep_their_numbers() {
        let code = code_only("/* 1\n2 */\n\"3\n4\"\nunsafe");
        assert_eq!(lines_with_word(&code, "unsafe"), [5]);
        assert_eq!(lines_with_word("unsafe_op\nmy_unsafe\nunsafe{", "unsafe"), [3]);
    }
}
