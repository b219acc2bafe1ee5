namespace go base

struct Base {
  1: string caller
  2: optional map<string, string> extra
}
enum Mood { GOOD = 1 }
const i32 ONE = 1
exception Broken { 1: string text }
service Common { Base ping(1: Base base) throws (1: Broken broken) }
