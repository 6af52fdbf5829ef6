//! Frames that end too soon.

/// The first `length` bytes, as a wire that breaks off would bring them: the
/// lengths inside still say what they said.
#[must_use]
pub fn cut(frame: &[u8], length: usize) -> Vec<u8> {
    frame[..length].to_vec()
}

/// The first `length` bytes, with an IP header at `ip` that knows of no more.
/// `None` where the field for it is cut off, or its number would be below 0.
#[must_use]
pub fn cut_honestly(frame: &[u8], ip: usize, length: usize) -> Option<Vec<u8>> {
    let mut bytes = cut(frame, length);
    let (field, header) = if frame[ip] >> 4 == 4 { (ip + 2, 0) } else { (ip + 4, 40) };
    let told = u16::try_from(length.checked_sub(ip + header)?).ok()?;
    bytes.get_mut(field..field + 2)?.copy_from_slice(&told.to_be_bytes());
    Some(bytes)
}
