use proptest::prelude::*;
use stonework::base::Ratio;

proptest! {
    #[test]
    fn what_is_shown_reads_back_exactly(parts in 0_u32..=1_000_000) {
        let ratio = Ratio::per_million(parts).unwrap();
        prop_assert_eq!(ratio.to_string().parse(), Ok(ratio));
        prop_assert_eq!(Ratio::try_from(ratio.as_f64()), Ok(ratio));
        prop_assert_eq!(ratio.parts_per_million(), parts);
    }

    #[test]
    fn any_number_is_a_ratio_exactly_if_it_lies_between_0_and_1(share: f64) {
        prop_assert_eq!(Ratio::try_from(share).is_ok(), (0.0..=1.0).contains(&share));
        prop_assert_eq!(Ratio::try_from(share.fract().abs()).is_ok(), share.is_finite());
    }

    #[test]
    fn no_text_panics(text in ".*") {
        if let Ok(ratio) = text.parse::<Ratio>() {
            prop_assert!(ratio <= Ratio::ONE);
        }
    }
}
