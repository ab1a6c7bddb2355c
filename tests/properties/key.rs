use http::header::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use stonework::base::{IDEMPOTENCY_KEY, IdempotencyKey, KeyFormat, Rng};

proptest! {
    #[test]
    fn any_visible_ascii_of_1_to_255_bytes_is_a_key_and_nothing_else(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let valid = (1..=255).contains(&bytes.len()) && bytes.iter().all(|byte| (0x21..=0x7e).contains(byte));
        let Ok(value) = HeaderValue::from_bytes(&bytes) else {
            prop_assert!(!valid);
            return Ok(());
        };
        let key = IdempotencyKey::of(&HeaderMap::from_iter([(IDEMPOTENCY_KEY, value)])).unwrap();
        prop_assert_eq!(key.is_ok(), valid);
    }

    #[test]
    fn a_key_is_kept_byte_for_byte(text in "[!-~]{1,255}") {
        let key = IdempotencyKey::try_from(&*text).unwrap();
        prop_assert_eq!(key.as_str(), &text);
        prop_assert_eq!(IdempotencyKey::try_from(key.header_value().clone()), Ok(key));
    }

    #[test]
    fn a_generated_key_is_valid_and_repeatable_from_a_seed(seed: u64) {
        for format in [KeyFormat::Bare, KeyFormat::Quoted] {
            let key = IdempotencyKey::generate(&Rng::seeded(seed), format);
            prop_assert_eq!(&key, &IdempotencyKey::generate(&Rng::seeded(seed), format));
            prop_assert_eq!(IdempotencyKey::try_from(key.as_str()), Ok(key));
        }
    }
}
