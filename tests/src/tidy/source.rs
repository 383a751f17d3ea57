//! Enough of Rust's grammar to tell code from comments, strings and tests.

/// Replaces comments, strings and characters by blanks; lines keep their numbers.
pub fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&now) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        let word_before = at > 0 && is_word(chars[at - 1]);
        let end = match (now, next) {
            ('/', Some('/')) => line_end(&chars, at),
            ('/', Some('*')) => comment_end(&chars, at),
            ('"', _) => string_end(&chars, at),
            ('b' | 'c', Some('"')) if !word_before => string_end(&chars, at + 1),
            ('r', Some('"' | '#')) if !word_before => raw_end(&chars, at),
            ('b' | 'c', Some('r')) if !word_before => raw_end(&chars, at + 1),
            ('\'', Some('\\')) => character_end(&chars, at),
            ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => at + 3,
            _ => at,
        };
        if end <= at {
            out.push(now);
            at += 1;
            continue;
        }
        for hidden in &chars[at..end.min(chars.len())] {
            out.push(if *hidden == '\n' { '\n' } else { ' ' });
        }
        at = end;
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| at + length)
}

fn comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut end) = (0, at);
    while end < chars.len() {
        match (chars[end], chars.get(end + 1)) {
            ('/', Some('*')) => (depth, end) = (depth + 1, end + 2),
            ('*', Some('/')) => (depth, end) = (depth - 1, end + 2),
            _ => end += 1,
        }
        if depth == 0 {
            break;
        }
    }
    end
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut end = at + 1;
    while end < chars.len() && chars[end] != '"' {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    end + 1
}

/// The end of a raw string, or `at` where this is no raw string but an identifier.
fn raw_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return at;
    }
    let mut end = open + 1;
    while end < chars.len() {
        let closes = chars[end] == '"'
            && chars[end + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        end += 1;
        if closes {
            return end + hashes;
        }
    }
    end
}

fn character_end(chars: &[char], at: usize) -> usize {
    let close = chars[at + 3..].iter().position(|c| *c == '\'');
    close.map_or(chars.len(), |length| at + 3 + length + 1)
}

/// A word or a run of punctuation of [`code`], with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Line, from 1.
    pub line: usize,
    /// The word, `::` or one character.
    pub text: String,
}

/// Splits code into tokens.
pub fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let line = index + 1;
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(length);
            tokens.push(Token { line, text: token.to_owned() });
            rest = after.trim_start();
        }
    }
    tokens
}

/// What of a file is code that ships, and which modules in other files are tests.
#[derive(Debug, Default)]
pub struct Shipped {
    /// Tokens outside items marked `#[cfg(test)]`.
    pub tokens: Vec<Token>,
    /// Names of modules declared as `#[cfg(test)] mod NAME;`.
    pub test_modules: Vec<String>,
}

/// Leaves out the items that only tests see.
pub fn shipped(text: &str) -> Shipped {
    let tokens = tokens(&code(text));
    let mut shipped = Shipped::default();
    let mut at = 0;
    while at < tokens.len() {
        let texts = |from: usize| tokens[from..].iter().map(|token| token.text.as_str());
        if !texts(at).take(7).eq(["#", "[", "cfg", "(", "test", ")", "]"]) {
            shipped.tokens.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let item = at + 7;
        if let Some(name) = module_name(&tokens[item..]) {
            shipped.test_modules.push(name);
        }
        // The item ends at its semicolon or the brace that closes it.
        let mut depth = 0;
        at = item;
        while at < tokens.len() {
            let text = tokens[at].text.as_str();
            depth += i32::from(["{", "(", "["].contains(&text));
            depth -= i32::from(["}", ")", "]"].contains(&text));
            at += 1;
            if depth == 0 && (text == ";" || text == "}") {
                break;
            }
        }
    }
    shipped
}

fn module_name(item: &[Token]) -> Option<String> {
    let mut words = item.iter().map(|token| token.text.as_str()).skip_while(|text| *text != "mod");
    let (name, end) = (words.nth(1)?, words.next()?);
    let first = item.first()?.text.as_str();
    (end == ";" && ["mod", "pub", "#"].contains(&first)).then(|| name.to_owned())
}

/// A path that code names, such as `std::fs::File`, with its line; uses are flattened.
pub fn paths(tokens: &[Token]) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text == "use" {
            at = tree(tokens, at + 1, &mut Vec::new(), &mut paths);
            continue;
        }
        let (start, line) = (at, tokens[at].line);
        let mut path = Vec::new();
        while at < tokens.len() && tokens[at].text.starts_with(is_word) {
            path.push(tokens[at].text.as_str());
            at += 1;
            match tokens.get(at).zip(tokens.get(at + 1)) {
                Some((colons, word)) if colons.text == "::" && word.text.starts_with(is_word) => {
                    at += 1;
                }
                _ => break,
            }
        }
        if path.is_empty() {
            at += 1;
            continue;
        }
        let is_field = start > 0 && tokens[start - 1].text == ".";
        if !is_field {
            paths.push((line, path.join("::")));
        }
    }
    paths
}

/// Flattens the tree of a `use` from `at`; returns where it ends.
fn tree(
    tokens: &[Token],
    mut at: usize,
    prefix: &mut Vec<String>,
    paths: &mut Vec<(usize, String)>,
) -> usize {
    let depth = prefix.len();
    let mut leaf = false;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "::" => {}
            "{" => {
                at = tree(tokens, at + 1, prefix, paths);
                leaf = false;
                continue;
            }
            "as" => at += 1,
            end @ ("," | "}" | ";") => {
                if leaf {
                    paths.push((token.line, prefix.join("::")));
                }
                prefix.truncate(depth);
                leaf = false;
                if end != "," {
                    return at + 1;
                }
            }
            word => {
                prefix.push(word.to_owned());
                leaf = true;
            }
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blank() {
        let text = r##"a /* b /* c */ d */ e // f
"g \" h" 'i' '\n' '"' b"j" r#"k " l"# br"m" 'life x: &'static str r#type bar"n""##;
        let words: Vec<_> = tokens(&code(text)).into_iter().map(|token| token.text).collect();
        let code = ["a", "e", "'", "life", "x", ":", "&", "'", "static", "str"];
        assert_eq!(words[..10], code);
        assert_eq!(words[10..], ["r", "#", "type", "bar"]);
    }

    #[test]
    fn tests_do_not_ship() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { use std::fs; fn b() { [1]; } }\n\
                    #[cfg(test)]\n#[path = \"x.rs\"]\nmod other;\n#[cfg(test)] mod third;\n\
                    fn c() {}";
        let shipped = shipped(text);
        let words: Vec<_> = shipped.tokens.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(words.join(" "), "fn a ( ) { } fn c ( ) { }");
        assert_eq!(shipped.test_modules, ["other", "third"]);
    }

    #[test]
    fn uses_are_flattened() {
        let text = "use std::{fs, io::{self, Read as R}, time::*};\nlet x = std::env::args();\n\
                    self.tokio.thread();";
        let paths: Vec<_> = paths(&tokens(text)).into_iter().map(|(_, path)| path).collect();
        let flat = ["std::fs", "std::io::self", "std::io::Read", "std::time::*"];
        assert_eq!(paths[..4], flat);
        assert!(paths.contains(&"std::env::args".to_owned()));
        assert!(!paths.contains(&"tokio".to_owned()), "a field is no path");
    }
}
