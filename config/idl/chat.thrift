// The thrift side of the example translate.yaml.
namespace go chat

struct Author {
    1: string name
}

struct Line {
    1: string text
    2: i32 seq
    3: list<string> tags
    4: map<string, i32> votes
    5: optional Author author
}

struct Room {
    1: required string name
}

struct Summary {
    1: i64 lines
}

service Chat {
    Line Talk(1: Line line) (streaming.mode = "bidirectional")
    Summary Upload(1: Line line) (streaming.mode = "client")
    Line Watch(1: Room room) (streaming.mode = "server")
    Line Say(1: Line line) (streaming.mode = "unary")
    Line Leave(1: Room room)
}
