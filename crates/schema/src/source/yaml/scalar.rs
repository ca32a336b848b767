//! What a plain scalar means: the rules of YAML's core schema.

use serde_json::{Number, Value};

/// A number that JSON does not have: not a number, or without end.
#[derive(Debug, PartialEq)]
pub(super) struct NotFinite;

/// Gives a plain scalar its type.
pub(super) fn resolve(text: &str) -> Result<Value, NotFinite> {
    // Most scalars are texts, which their first letter tells.
    if text.starts_with(|c: char| !matches!(c, '~' | 'n' | 'N' | 't' | 'T' | 'f' | 'F' | '+' | '-' | '.' | '0'..='9')) {
        return Ok(Value::String(text.to_owned()));
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return Err(NotFinite),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Err(NotFinite);
    }
    let based = |prefix, base| {
        let digits = text.strip_prefix(prefix).filter(|digits| !digits.starts_with('+'))?;
        u64::from_str_radix(digits, base).ok()
    };
    if let Some(number) = based("0o", 8).or_else(|| based("0x", 16)) {
        return Ok(Value::Number(number.into()));
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        if let Ok(number) = text.parse::<u64>() {
            return Ok(Value::Number(number.into()));
        }
        if let Ok(number) = text.parse::<i64>() {
            return Ok(Value::Number(number.into()));
        }
    }
    if !is_float(unsigned) {
        return Ok(Value::String(text.to_owned()));
    }
    match text.parse().ok().and_then(Number::from_f64) {
        Some(number) => Ok(Value::Number(number)),
        None => Err(NotFinite),
    }
}

/// Whether a text without sign matches `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_is_valid = match mantissa.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent = exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    mantissa_is_valid && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{NotFinite, resolve};

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let table = [
            ("yes", json!("yes")),
            ("on", json!("on")),
            ("True", json!(true)),
            ("~", json!(null)),
            ("1.10", json!(1.10)),
            ("1.0.0", json!("1.0.0")),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("+12", json!(12)),
            ("-12", json!(-12)),
            ("1e3", json!(1000.0)),
            (".5", json!(0.5)),
            ("1_000", json!("1_000")),
            ("12:30", json!("12:30")),
            ("18446744073709551616", json!(18_446_744_073_709_552_000_f64)),
            ("infinity", json!("infinity")),
            (".", json!(".")),
        ];
        for (text, value) in table {
            assert_eq!(resolve(text), Ok(value), "{text}");
        }
        assert_eq!(resolve("-.inf"), Err(NotFinite));
    }
}
