//! Keys that name a secret.

const WORDS: [&str; 12] = [
    "token",
    "secret",
    "password",
    "passwd",
    "pwd",
    "auth",
    "bearer",
    "credential",
    "credentials",
    "pem",
    "cert",
    "apikey",
];

const PAIRS: [[&str; 2]; 2] = [["api", "key"], ["private", "key"]];

/// Whether a key holds the name of a secret as whole words: `userPassword` and `x-api-key` do, `inputTokens` and `author` do not.
pub(super) fn is_secret(key: &str) -> bool {
    let words = words(key);
    words.iter().any(|word| WORDS.contains(&word.as_str()))
        || words.windows(2).any(|pair| PAIRS.iter().any(|wanted| pair == wanted))
}

/// Splits a name at case and at everything that is neither letter nor digit: `myAPIKey` is `my`, `api`, `key`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = name.chars().peekable();
    let mut before = None;
    while let Some(character) = characters.next() {
        if !character.is_alphanumeric() {
            words.push(String::new());
            before = None;
            continue;
        }
        let is_upper = character.is_uppercase();
        let after_lower = before.is_some_and(|before: char| !before.is_uppercase());
        let before_lower = before.is_some() && characters.peek().is_some_and(|next| next.is_lowercase());
        if is_upper && (after_lower || before_lower) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(character.to_lowercase());
        }
        before = Some(character);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn whole_words_name_secrets() {
        for key in [
            "apiKey",
            "API_KEY",
            "x-api-key",
            "myAPIKey",
            "clientSecret",
            "webhook_secret",
            "authToken",
            "pwd",
            "private key",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in [
            "inputTokens",
            "author",
            "authored",
            "keys",
            "key",
            "api",
            "keyApi",
            "secretary",
            "certain",
            "idempotencyKey",
            "",
        ] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
