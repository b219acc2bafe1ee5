namespace go p

enum Mood { GOOD = 1, BAD = 2 }
enum Color { GREEN = 0, BLUE = 1, RED = 2 }

struct All {
  1: i8 int32_i8
  2: i16 int64_i16
  3: i32 uint32_i32
  4: optional i64 uint64_i64
  5: i64 sint32_i64
  6: i32 sint64_i32
  7: i8 fixed32_wrap
  8: optional i16 fixed64_saturate
  9: required i32 sfixed32_i32
  10: i64 sfixed64_i64
  11: bool bool
  12: double float
  13: optional double double
  14: string string
  15: optional string replaced
  16: string unchecked
  17: binary bytes
  18: Mood mood
  19: optional Color color

  20: optional i32 explicit
  21: string with_default = "x"
  22: optional i32 zero_despite_default = 7
  23: optional i32 written_zero
  24: bool true_by_default = true

  30: list<i32> list
  31: optional list<i64> loose
  32: list<i64> fixed
  33: set<string> set
  34: optional set<i16> number_set
  35: list<Mood> moods
  36: list<Tree> trees
  37: list<Part> parts
  38: list<list<string>> lists
  39: optional list<list<string>> deep
  40: list<double> list_default = [1.5, 2]

  50: map<string, i64> counts
  51: map<i32, Tree> by_number
  52: map<bool, list<string>> by_bool
  53: optional map<string, Part> by_name
  54: map<double, string> by_double
  55: map<Tree, set<string>> by_tree
  56: map<Mood, i32> by_mood
  57: map<i64, Color> colors

  60: Tree tree
  61: Part part
  62: optional Needs needs
  63: optional i32 a
  64: optional Tree b
  65: optional string c
  66: optional All all
  70: i64 only_here
  71: list<string> only_here_too = ["a", "b"]
  101: i32 m01
  102: i32 m02
  103: i32 m03
  104: i32 m04
  105: i32 m05
  106: i32 m06
  107: i32 m07
  108: i32 m08
  109: i32 m09
  110: i32 m10
  111: i32 m11
  112: i32 m12
  113: i32 m13
  114: i32 m14
  115: required i32 m15
  116: i32 m16 = 16
}

struct Tree {
  1: string name
  2: list<Tree> children
  3: optional Tree next
  4: optional map<string, Tree> named
}

union Part {
  1: string text
  2: list<i32> numbers
  3: Tree tree
  4: map<string, i64> counts
  5: Part more
  6: bool flag
}

struct Needs {
  1: required i32 implicit
  2: required i32 explicit
  3: required Tree tree
  4: required list<i32> list
  5: required Part part
}

enum Closed { ONE = 1, TWO = 2 }

struct Message {
  1: i32 needed
  2: optional string text = "old"
  3: list<i32> list
  4: set<i64> packed
  5: optional Closed closed
  6: optional Message inner
  7: required Closed must
}

service S {
  Tree Talk(1: All all) (streaming.mode = "bidirectional")
  Needs Choose(1: Part part) (streaming.mode = "bidirectional")
}

service Old {
  Message Send(1: Message m) (streaming.mode = "bidirectional")
}
