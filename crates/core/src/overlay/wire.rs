//! How an overlay is written in a file: a table with one of `image`, `text` and `clock`, and its settings.
//!
//! In: an [`Overlay`]. Out: any serde format, and back. Pixels and fonts that are bytes of the program cannot be written.

use std::path::PathBuf;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{Anchor, Clock, Color, Content, Font, FontSource, Overlay, OverlayWidth, TextStyle};
use crate::written::is_default;

#[derive(serde::Serialize, serde::Deserialize, Default)]
#[serde(rename = "overlay", default, deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    utc_offset_minutes: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    at: Anchor,
    #[serde(skip_serializing_if = "is_default")]
    x: u32,
    #[serde(skip_serializing_if = "is_default")]
    y: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width_percent: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    opacity: Option<u8>,
    #[serde(skip_serializing_if = "is_default")]
    hidden: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    font: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<Color>,
    #[serde(skip_serializing_if = "Option::is_none")]
    background: Option<Color>,
}

impl Serialize for Color {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Color {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Overlay {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut written = Written {
            name: self.name.clone(),
            at: self.at,
            x: self.offset.0,
            y: self.offset.1,
            opacity: Some(self.opacity).filter(|opacity| *opacity != 100),
            hidden: self.hidden,
            ..Written::default()
        };
        match self.width {
            Some(OverlayWidth::Pixels(pixels)) => written.width = Some(pixels),
            Some(OverlayWidth::Percent(percent)) => written.width_percent = Some(percent),
            None => {}
        }
        match &self.content {
            Content::File(path) => written.image = Some(path.clone()),
            Content::Pixels { .. } => return Err(S::Error::custom("an overlay of pixels cannot be written")),
            Content::Text { line, .. } => written.text = Some(line.clone()),
            Content::Clock { clock, .. } => {
                written.clock = Some(clock.form.clone());
                written.utc_offset_minutes = clock.minutes;
            }
        }
        if let Some(style) = self.style() {
            let FontSource::File(font) = &style.font.0 else {
                return Err(S::Error::custom("a font of bytes cannot be written"));
            };
            let usual = TextStyle::new(style.font.clone());
            written.font = Some(font.clone());
            written.size = Some(style.size).filter(|size| *size != usual.size);
            written.color = Some(style.color).filter(|color| *color != usual.color);
            written.background = style.background;
        }
        written.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Overlay {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(from)?;
        let refuse = |reason: &str| Err(D::Error::custom(reason));
        let style = match written.font {
            Some(font) => {
                let mut style = TextStyle::new(Font::file(font));
                style.size = written.size.unwrap_or(style.size);
                style.color = written.color.unwrap_or(style.color);
                style.background = written.background;
                Some(style)
            }
            None if written.size.is_some() || written.color.is_some() || written.background.is_some() => {
                return refuse("an overlay of text has a `font`");
            }
            None => None,
        };
        if written.clock.is_none() && written.utc_offset_minutes != 0 {
            return refuse("only a `clock` has `utc_offset_minutes`");
        }
        let content = match (written.image, written.text, written.clock, style) {
            (Some(image), None, None, None) => Content::File(image),
            (None, Some(line), None, Some(style)) => Content::Text { line, style },
            (None, None, Some(form), Some(style)) => {
                let clock = Clock { form, minutes: written.utc_offset_minutes };
                Content::Clock { clock, style }
            }
            (None, Some(_), None, None) | (None, None, Some(_), None) => {
                return refuse("an overlay of text has a `font`");
            }
            (Some(_), None, None, Some(_)) => return refuse("an image has no `font`"),
            _ => return refuse("an overlay has one of `image`, `text` and `clock`"),
        };
        let width = match (written.width, written.width_percent) {
            (Some(_), Some(_)) => return refuse("an overlay has one of `width` and `width_percent`"),
            (pixels, percent) => pixels.map(OverlayWidth::Pixels).or(percent.map(OverlayWidth::Percent)),
        };
        Ok(Self {
            name: written.name,
            at: written.at,
            offset: (written.x, written.y),
            width,
            opacity: written.opacity.unwrap_or(100),
            hidden: written.hidden,
            ..Self::of(content)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let style = TextStyle::new(Font::file("/fonts/a.ttf"));
        let loud = style.clone().with(|style| {
            (style.size, style.color, style.background) =
                (48, Color::rgb(255, 136, 0), Some(Color::BLACK.with_alpha(128)));
        });
        let all = [
            Overlay::image("logo.png").at(Anchor::TopRight).offset(24, 16).opacity(80),
            Overlay::image("logo.png").width(OverlayWidth::Percent(10)).named("logo").hidden(),
            Overlay::image("logo.png").width(OverlayWidth::Pixels(100)),
            Overlay::text("a line", style.clone()),
            Overlay::clock(Clock::new("%H:%M").utc_offset_minutes(-300), loud),
        ];
        for overlay in all {
            let json = serde_json::to_string(&overlay).expect("it can be written");
            assert_eq!(serde_json::from_str::<Overlay>(&json).expect("it can be read"), overlay, "{json}");
        }
        let simple = serde_json::to_value(Overlay::image("logo.png")).expect("it can be written");
        assert_eq!(simple, serde_json::json!({ "image": "logo.png" }));
        assert!(serde_json::to_string(&Overlay::pixels(1, 1, vec![0; 4])).is_err());
        for wrong in [
            r#"{}"#,
            r#"{"text":"a"}"#,
            r#"{"image":"a","text":"b","font":"c"}"#,
            r#"{"image":"a","font":"c"}"#,
            r#"{"image":"a","colour":"red"}"#,
            r#"{"image":"a","at":"somewhere"}"#,
            r#"{"image":"a","width":1,"width_percent":1}"#,
        ] {
            assert!(serde_json::from_str::<Overlay>(wrong).is_err(), "{wrong}");
        }
    }
}
