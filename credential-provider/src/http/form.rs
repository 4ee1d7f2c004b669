//! Bodies as HTML forms send them, which OAuth 2 token endpoints want.

use crate::secret::SecretBytes;

use super::url::encode;

/// An `application/x-www-form-urlencoded` body.
pub fn form(fields: &[(&str, &str)]) -> SecretBytes {
    // Reserved at once, because what a growing buffer leaves behind is not wiped. No byte takes more than
    // three.
    let length = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut body = Vec::with_capacity(length);
    for (name, value) in fields {
        if !body.is_empty() {
            body.push(b'&');
        }
        body.extend_from_slice(encode(name).as_bytes());
        body.push(b'=');
        body.extend_from_slice(SecretBytes::new(encode(value).into_bytes()).expose());
    }
    SecretBytes::new(body)
}

#[cfg(test)]
mod tests {
    use super::form;

    #[test]
    fn fields_are_encoded() {
        let body = form(&[("grant_type", "refresh_token"), ("service", "a b&c")]);
        assert_eq!(body.expose(), b"grant_type=refresh_token&service=a%20b%26c");
    }
}
