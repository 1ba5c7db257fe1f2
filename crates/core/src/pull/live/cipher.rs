//! Segments that are encrypted with AES-128 in CBC mode, with padding (RFC 8216, section 4.3.2.4).
//!
//! In: the encrypted bytes, key and initialisation vector. Out: what was encrypted.

use std::io::{self, Read};

use aes::cipher::{Array, BlockModeDecrypt, KeyIvInit};

const BLOCK: usize = 16;
/// Bytes decrypted at once.
const PIECE: usize = 16 << 10;

pub(super) struct Decrypted<R> {
    inner: R,
    cipher: cbc::Decryptor<aes::Aes128>,
    /// Decrypted, and how much of it was handed on.
    plain: Vec<u8>,
    at: usize,
    /// The last block, which may be padded.
    held: Option<[u8; BLOCK]>,
    is_over: bool,
}

impl<R: Read> Decrypted<R> {
    pub(super) fn new(inner: R, key: [u8; BLOCK], iv: [u8; BLOCK]) -> Self {
        let cipher = cbc::Decryptor::new(&key.into(), &iv.into());
        Self { inner, cipher, plain: Vec::new(), at: 0, held: None, is_over: false }
    }

    fn fill(&mut self) -> io::Result<()> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut piece = Vec::with_capacity(PIECE);
        (&mut self.inner).take(PIECE as u64).read_to_end(&mut piece)?;
        (self.at, self.is_over) = (0, piece.len() < PIECE);
        self.plain.clear();
        let (blocks, rest) = piece.as_chunks::<BLOCK>();
        if !rest.is_empty() {
            return Err(invalid("an encrypted segment is cut off"));
        }
        for block in blocks {
            let mut block = Array::from(*block);
            self.cipher.decrypt_block(&mut block);
            self.plain.extend(self.held.replace(block.into()).into_iter().flatten());
        }
        if self.is_over
            && let Some(last) = self.held.take()
        {
            let padding = usize::from(last[BLOCK - 1]);
            let kept = BLOCK.checked_sub(padding).filter(|_| padding > 0);
            let (kept, padded) = last.split_at(kept.ok_or_else(|| invalid("a segment has another key"))?);
            if padded.iter().any(|byte| usize::from(*byte) != padding) {
                return Err(invalid("a segment has another key"));
            }
            self.plain.extend_from_slice(kept);
        }
        Ok(())
    }
}

impl<R: Read> Read for Decrypted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut rest = self.plain.get(self.at..).unwrap_or_default();
            if !rest.is_empty() || self.is_over || buffer.is_empty() {
                let count = rest.read(buffer)?;
                self.at += count;
                return Ok(count);
            }
            self.fill()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use aes::cipher::BlockModeEncrypt;

    use super::*;

    const KEY: [u8; BLOCK] = *b"0123456789abcdef";

    /// As a packager does it.
    fn encrypted(plain: &[u8], iv: [u8; BLOCK]) -> Vec<u8> {
        let padding = BLOCK - plain.len() % BLOCK;
        let padded = [plain, &vec![u8::try_from(padding).expect("small"); padding]].concat();
        let mut cipher = cbc::Encryptor::<aes::Aes128>::new(&KEY.into(), &iv.into());
        let block = |block: &[u8; BLOCK]| {
            let mut block = Array::from(*block);
            cipher.encrypt_block(&mut block);
            <[u8; BLOCK]>::from(block)
        };
        padded.as_chunks().0.iter().flat_map(block).collect()
    }

    #[test]
    fn what_was_encrypted_comes_out_and_nothing_else() {
        for length in [0, 1, 15, 16, 17, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5] {
            let plain: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let wire = encrypted(&plain, [7; BLOCK]);
            let mut out = Vec::new();
            Decrypted::new(&wire[..], KEY, [7; BLOCK]).read_to_end(&mut out).expect("it is whole");
            assert!(out == plain, "{length}");
            let mut cut = Decrypted::new(&wire[..wire.len() - 1], KEY, [7; BLOCK]);
            assert!(cut.read_to_end(&mut Vec::new()).is_err());
        }
    }

    #[test]
    fn it_is_the_cipher_that_others_mean() {
        // NIST SP 800-38A, F.2.2, its first block, which is not padded.
        let key = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
        let iv = 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f_u128.to_be_bytes();
        let wire = 0x7649_abac_8119_b246_cee9_8e9b_12e9_197d_u128.to_be_bytes();
        let mut cipher = cbc::Decryptor::<aes::Aes128>::new(&key.into(), &iv.into());
        let mut block = Array::from(wire);
        cipher.decrypt_block(&mut block);
        assert_eq!(u128::from_be_bytes(block.into()), 0x6bc1_bee2_2e40_9f96_e93d_7e11_7393_172a);
    }
}
