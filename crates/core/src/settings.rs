//! What all structs of settings have in common.

/// Gives structs of settings a `with`, so that they can be changed in one expression although they are `non_exhaustive`.
macro_rules! settings {
    ($($name:ty),+ $(,)?) => {$(
        impl $name {
            /// The same settings with what `change` does to them.
            #[must_use]
            pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
                change(&mut self);
                self
            }
        }
    )+};
}

pub(crate) use settings;
