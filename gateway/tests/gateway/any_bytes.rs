//! The rig of the fuzz target, with a few inputs that tell the behaviours apart.

use crate::bytes::Rig;

#[test]
fn whatever_comes_nothing_hangs_is_forged_or_executed_too_often() {
    let rig = Rig::new();
    let inputs: [&[u8]; 12] = [
        b"",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"DELETE / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX_Consumer_ID: 1\r\nX.Api.Key: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Consumer-ID: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHost",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://a/ HTTP/1.0\r\nConnection: keep-alive, X-Forwarded-For\r\n\r\n",
    ];
    for manner in 0..8_u8 {
        for input in inputs {
            rig.run(&[&[manner], input].concat());
        }
    }
}
