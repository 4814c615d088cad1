//! Four numbers at a time, where the processor can: the same operations on each, so the same bits.

/// A method that calls `$plain`, compiled for AVX2 (`$wide`) where there is that. Only what is inlined into
/// `$plain` gains by it.
macro_rules! by_fours {
    (
        $(#[$about:meta])*
        $visibility:vis fn $name:ident, $wide:ident, $plain:ident
        (&mut self $(, $argument:ident: $type:ty)* $(,)?) -> $out:ty
    ) => {
        $(#[$about])*
        $visibility fn $name(&mut self $(, $argument: $type)*) -> $out {
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") {
                // SAFETY: this processor has AVX2.
                return unsafe { self.$wide($($argument),*) };
            }
            self.$plain($($argument),*)
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2")]
        fn $wide(&mut self $(, $argument: $type)*) -> $out {
            self.$plain($($argument),*)
        }
    };
}

pub(super) use by_fours;
