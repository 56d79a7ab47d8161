#include "io/pickle.h"

#include "tensor_test.h"

namespace lorikeet {
namespace {

std::string refusal(const std::string& pickle) {
  return error_of([&] { read_pickle(pickle); });
}

}  // namespace

TEST(Pickle, CodeIsRefusedHoweverItIsSpelled) {
  using namespace std::string_literals;
  const std::string cases[] = {
      "cposix\nsystem\n(S'true'\ntR."s,  // protocol 0, REDUCE
      "\x80\x02"
      "cos\nsystem\nX\x04\0\0\0true\x85R."s,                         // protocol 2
      "\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R."s,  // STACK_GLOBAL
      "(S'true'\nios\nsystem\n."s,                                   // INST
      "(cos\nsystem\nS'true'\no."s,                                  // OBJ
      "\x80\x02"
      "c__builtin__\neval\nU\x03"
      "1+1\x85R."s,  // Python 2's name
      "\x80\x04\x8c\x08"
      "builtins\x8c\x04"
      "eval\x93)\x81."s,  // NEWOBJ
      "\x80\x04\x8c\x08"
      "builtins\x8c\x0a"
      "__import__\x93\x8c\x02os\x85R."s,  // __import__
      "\x80\x04\x8c\x08"
      "builtins\x8c\x0d"
      "eval.__call__\x93)R."s,  // a dotted name
      "\x80\x02"
      "csubprocess\nPopen\nU\x02ls\x85R."s,  // a class, not a function
      "\x80\x02"
      "cimportlib.util\nspec_from_file_location\n)R."s,  // a module below
      "\x80\x02}U\x01"
      "acos\nsystem\ns."s,  // only mentioned
  };
  for (const auto& pickle : cases)
    EXPECT_NE(refusal(pickle).find("refuses to run"), std::string::npos) << pickle << "\n" << refusal(pickle);
}

TEST(Pickle, UnknownClassesStayInertAndTheirContentsAreDropped) {
  using namespace std::string_literals;
  const Pickle pickle = read_pickle(
      "\x80\x02"
      "csome.where\nThing\n)\x81}U\x01"
      "aK\x05sb."s);
  EXPECT_EQ(pickle.root().kind, PickleKind::call);
  EXPECT_EQ(pickle.callable(pickle.root()), "some.where Thing");
  const Pickle filled = read_pickle(
      "csome.where\nthing\n)R(K\x01K\x02u(K\x03"
      "e."s);
  EXPECT_EQ(filled.root().items.size(), 2U);
}

TEST(Pickle, EachFaultOfAPickleIsAnErrorNotACrash) {
  using namespace std::string_literals;
  const std::string cases[] = {""s,
                               "."s,
                               "N"s,
                               "K"s,
                               "0."s,
                               "1."s,
                               "2."s,
                               "t."s,
                               "\x85."s,
                               "R."s,
                               "b."s,
                               "a."s,
                               "s."s,
                               "u."s,
                               "e."s,
                               "Na."s,
                               "}Na."s,
                               "](K\1u."s,
                               "(K\1d."s,
                               "h\0."s,
                               "j\xff\xff\xff\xff."s,
                               "gx\n."s,
                               "p-1\n."s,
                               "\x80\x09N."s,
                               "X\xff\xff\xff\xff."s,
                               "\x8d\xff\xff\xff\xff\xff\xff\xff\xff."s,
                               "S'abc\n."s,
                               "S'\\q'\n."s,
                               "V\\u12\n."s,
                               "F1.x\n."s,
                               "c\n\n"s,
                               "KK\x93."s,
                               "\x82\1."s,
                               "\x97."s,
                               "(o."s,
                               "Q."s,
                               "c" + std::string(300, 'a') + "\nb\n."};
  for (const auto& pickle : cases) EXPECT_NE(refusal(pickle), "") << pickle;
  EXPECT_EQ(refusal("](((((l."s), "");  // a deep stack of marks is no fault
}

TEST(Pickle, BombsAreRefusedBeforeTheyFillTheMemory) {
  using namespace std::string_literals;
  EXPECT_NE(refusal(std::string(3'000'000, 'N') + "."), "");
  // A list of 1000 items, copied again and again.
  std::string copies = "c__builtin__\nlist\np0\n](";
  for (int i = 0; i < 1000; ++i) copies += "N";
  copies += "e\x85p1\n";
  for (int i = 0; i < 10000; ++i) copies += "h\0h\1R0"s;
  EXPECT_NE(refusal(copies + "."), "");
}

TEST(Pickle, NumbersOfEveryFormAreRead) {
  using namespace std::string_literals;
  const auto integer = [](const std::string& pickle) { return read_pickle(pickle).root().integer; };
  EXPECT_EQ(integer("I-12\n."s), -12);
  EXPECT_EQ(integer("L123L\n."s), 123);
  EXPECT_EQ(integer("J\xff\xff\xff\xff."s), -1);
  EXPECT_EQ(integer("M\1\2."s), 513);
  EXPECT_EQ(integer("\x8a\1\xff."s), -1);
  EXPECT_EQ(integer("\x8a\2\xff\0."s), 255);
  EXPECT_EQ(integer("\x8a\0."s), 0);
  EXPECT_EQ(integer("\x8b\x08\0\0\0\0\0\0\0\0\0\0\x80."s), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(read_pickle("G\x3f\xf8\0\0\0\0\0\0."s).root().real, 1.5);
  EXPECT_EQ(read_pickle("F0.1\n."s).root().real, 0.1);
  EXPECT_EQ(read_pickle("I01\n."s).root().kind, PickleKind::boolean);
  EXPECT_EQ(read_pickle("S'a\\x41\\n\\''\n."s).root().text, "aA\n'");
  EXPECT_EQ(read_pickle("V\\u2603\xe9\n."s).root().text, "☃é");
}

}  // namespace lorikeet
