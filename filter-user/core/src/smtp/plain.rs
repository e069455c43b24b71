//! Plain lines: what nearly all of a message is made of.
//!
//! Whoever reads a message has to see each line end, and to go from one to the next costs several times as much as to look whether
//! there is anything else in a block.

/// Bytes that are looked at at once. It is their pairs that are, many by one instruction, and of 256 pairs none are left over.
pub(super) const BLOCK: usize = 256 + 1;

/// Whether a whole block, behind this byte, has no NUL, no half of a line end and no dot at the beginning of a line. What is shorter
/// than [`BLOCK`] is never said to.
pub(super) fn is_plain(before: u8, block: &[u8]) -> bool {
    let (Some(first), BLOCK) = (block.first(), block.len()) else { return false };
    let pairs = block.iter().zip(block.get(1..).unwrap_or_default());
    // To the end, whatever is found: so the compiler looks at many pairs by one instruction.
    pairs.fold(may_follow(before, *first), |is_plain, (one, next)| is_plain & may_follow(*one, *next))
}

const fn may_follow(one: u8, next: u8) -> bool {
    next != 0 && (one == b'\r') == (next == b'\n') && !(one == b'\n' && next == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_block_of_faultless_lines_is_plain() {
        let mut block = [b'x'; BLOCK];
        block[100..102].copy_from_slice(b"\r\n");
        assert!(is_plain(b'\n', &block));
        assert!(!is_plain(b'\n', &block[1..]) && !is_plain(b'\n', &[]), "not a whole one");
        assert!(!is_plain(b'\r', &block), "half of a line end in front");
        for place in [0, 1, 99, 100, 101, 102, BLOCK - 1] {
            for odd in [b'\0', b'\n', b'.', b'\r'] {
                let mut block = block;
                let before = core::mem::replace(&mut block[place], odd);
                // A dot matters where a line begins or ends, and a CR may be the last byte.
                let is_still = match odd {
                    b'.' => [1, 99, BLOCK - 1].contains(&place),
                    b'\r' => [100, BLOCK - 1].contains(&place),
                    odd => odd == before,
                };
                assert_eq!(is_plain(b'\n', &block), is_still, "{odd} at {place}");
            }
        }
    }
}
