//! Times of a track that increase.

use flowcast_rtmp::time::MediaTime;

/// Makes times of one track strictly increasing after they were rounded to milliseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Increasing {
    last: Option<i64>,
}

impl Increasing {
    /// `millis`, or the least time after the last one.
    pub(crate) fn next(&mut self, millis: i64) -> MediaTime {
        let time = match self.last {
            Some(last) if millis <= last => last + 1,
            _ => millis,
        };
        self.last = Some(time);
        MediaTime::from_millis(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_millisecond_times_are_moved_apart() {
        let mut increasing = Increasing::default();
        let times: Vec<_> = [0, 0, 1, 5].iter().map(|&ms| increasing.next(ms).as_millis()).collect();
        assert_eq!(times, [0, 1, 2, 5]);
    }
}
