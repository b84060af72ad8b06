//! Any two ways to cut the same bytes give the same events, chunks joined, and the same bytes out.

use ws_proto::REPLY_ROOM;
use ws_tests::corpus;

/// Room enough that nothing ever waits for it.
const AMPLE: usize = 1 << 17;

#[test]
fn byte_by_byte_equals_whole() {
    for conversation in corpus::all() {
        let whole = conversation.play(AMPLE, &[]);
        for room in [AMPLE, REPLY_ROOM] {
            let played = conversation.play_in_pieces(room, 1);
            assert_eq!(played, whole, "{}, room {room}", conversation.name);
        }
    }
}
