namespace go interop

struct Msg {
    1: binary payload
    2: i64 seq
}

exception Failure {
    1: i32 code
    2: string message
}

service Interop {
    Msg Bidi(1: Msg req) (streaming.mode = "bidirectional")
    Msg ClientStream(1: Msg req) (streaming.mode = "client")
    Msg ServerStream(1: Msg req) (streaming.mode = "server")
    Msg Ping(1: Msg req) throws (1: Failure f)
}
