#include "io/fields.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/error.h"
#include "io/fields_json.h"

namespace lorikeet {

enum class Shade { light, dark };
std::span<const Choice> choices(Shade) {
  static constexpr Choice list[] = {{"light", "Light grey"}, {"dark", "Dark grey"}};
  return list;
}

namespace {
std::span<const Choice> tool_choices() {
  static constexpr Choice list[] = {{"pen", "Pen"}, {"brush", "Brush"}, {"pencil", "Pencil"}};
  return list;
}

// One member of each type.
struct Drawing {
  int lines = 3;
  int64_t seed = 5000000000;
  double width = 0.5;
  std::optional<int> layers;
  std::optional<double> opacity;
  bool filled = true;
  std::string title = "sketch", tool = "pen";
  std::vector<std::string> notes;
  Shade shade = Shade::dark;
  PictureSource paper;
  bool operator==(const Drawing&) const = default;
};

template <class V, class S>
void fields(V& v, S& s) {
  constexpr FieldGroup basic{"basic", "Basic"}, more{"more", "More"};
  v(s.lines, {.name = "lines", .help = "How many.", .group = basic, .range = {1, 9}, .flags = "-l"});
  v(s.seed, {.name = "seed", .help = "Chance.", .group = basic});
  v(s.width, {.name = "line_width", .help = "How wide.", .group = basic, .range = {0, 10}});
  v(s.layers, {.name = "layers", .help = "How deep.", .group = more, .range = {1, 4}});
  v(s.opacity, {.name = "opacity", .help = "How thick.", .group = more, .range = {0, 1}});
  v(s.filled, {.name = "filled", .help = "Or not.", .group = more});
  v(s.title, {.name = "title", .help = "Words.", .group = more});
  v(s.tool, {.name = "tool", .help = "What with.", .group = more, .choices = tool_choices});
  v(s.notes, {.name = "notes", .help = "More words.", .group = more});
  v(s.shade, {.name = "shade", .help = "How dark.", .group = more});
  v(s.paper, {.name = "paper", .help = "What on.", .group = more});
}

Drawing busy() {
  return {.lines = 7,
          .seed = -2,
          .width = 0.1,
          .layers = 2,
          .opacity = 0.25,
          .filled = false,
          .title = "a \"b\"\n",
          .tool = "brush",
          .notes = {"one", "two"},
          .shade = Shade::light,
          .paper = {"a/b.png", nullptr}};
}

std::string refusal(const std::function<void(Drawing&)>& work) {
  Drawing drawing;
  try {
    work(drawing);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input);
    return error.what();
  }
  return {};
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }
}  // namespace

TEST(Fields, EveryTypeOfMemberGoesThroughJsonAndComesBack) {
  Drawing read;
  read_fields(read, nlohmann::json::parse(write_fields(busy()).dump()));
  EXPECT_EQ(read, busy());
  read_fields(read, write_fields(Drawing{}));  // unset optionals and empty lists too
  EXPECT_EQ(read, Drawing{});
  EXPECT_EQ(write_fields(Drawing{}).size(), describe_fields<Drawing>().size());
}

TEST(Fields, EveryTypeOfMemberGoesThroughTextAndComesBack) {
  Drawing read;
  const Drawing from = busy();
  const auto copy = [&](const auto& member, const Field& field) {
    if (field.name != "notes") return read_field(read, field.name, text_of(member));
    clear_if_list(read, field.name);
    for (const char* note : {"one", "two"}) read_field(read, field.name, note);  // texts of a list come one by one
  };
  fields(copy, from);
  EXPECT_EQ(read, busy());
  read_field(read, "layers", " ");
  EXPECT_FALSE(read.layers.has_value());
  clear_if_list(read, "notes");
  clear_if_list(read, "title");
  EXPECT_TRUE(read.notes.empty());
  EXPECT_EQ(read.title, busy().title);
}

TEST(Fields, TheListTellsTypesDefaultsFlagsAndChoices) {
  const auto list = describe_fields<Drawing>();
  std::vector<FieldType> types;
  std::vector<std::string> defaults;
  for (const FieldInfo& info : list) {
    types.push_back(info.type);
    defaults.push_back(info.default_text);
  }
  using enum FieldType;
  EXPECT_EQ(types, (std::vector{whole_number, whole_number, number, whole_number, number, yes_no, text, choice, texts, choice, picture}));
  EXPECT_EQ(defaults, (std::vector<std::string>{"3", "5000000000", "0.5", "", "", "true", "sketch", "pen", "", "dark", ""}));
  EXPECT_EQ(list[2].flag, "--line-width");
  EXPECT_EQ(list[7].choices.size(), 3u);
  EXPECT_EQ(list[9].choices[1].label, "Dark grey");
  EXPECT_EQ(list[3].field.group.title, "More");
}

TEST(Fields, ChoicesAreTakenByNameOrLabelInAnyCase) {
  Drawing drawing;
  for (const char* text : {"light", "LIGHT", " Light Grey "}) {
    drawing.shade = Shade::dark;
    read_field(drawing, "shade", text);
    EXPECT_EQ(drawing.shade, Shade::light) << text;
  }
  drawing.tool = "PENCIL";
  check_fields(drawing);
  EXPECT_EQ(drawing.tool, "pencil");
  const std::string text = refusal([](Drawing& d) { read_field(d, "shade", "drak"); });
  EXPECT_TRUE(has(text, "\"drak\" is not a value of shade") && has(text, "did you mean dark?") && has(text, "there are light, dark"))
      << text;
}

TEST(Fields, RangesHoldForNumbersAndSetOptionals) {
  const auto check = [](auto change) {
    return refusal([&](Drawing& d) {
      change(d);
      check_fields(d);
    });
  };
  EXPECT_EQ(check([](Drawing&) {}), "");
  EXPECT_TRUE(has(check([](Drawing& d) { d.lines = 10; }), "lines is 10, which is out of range"));
  EXPECT_TRUE(has(check([](Drawing& d) { d.layers = 0; }), "from 1 to 4"));
  EXPECT_TRUE(has(check([](Drawing& d) { d.opacity = 1.5; }), "opacity is 1.5"));
  EXPECT_TRUE(has(check([](Drawing& d) { d.width = std::nan(""); }), "line_width"));
  EXPECT_TRUE(has(check([](Drawing& d) { d.width = INFINITY; }), "line_width"));
  EXPECT_TRUE(has(check([](Drawing& d) { d.title = "\xff"; }), "UTF-8"));
  EXPECT_TRUE(has(check([](Drawing& d) { d.notes = {"a", "\xff"}; }), "UTF-8"));
  EXPECT_TRUE(has(check([](Drawing& d) { d.tool = "pean"; }), "did you mean pen"));
}

TEST(Fields, WrongTypesAndUnknownNamesAreNamed) {
  const auto of_json = [](const nlohmann::json& object) { return refusal([&](Drawing& d) { read_fields(d, object); }); };
  EXPECT_TRUE(has(of_json({{"linez", 1}}), "did you mean lines?"));
  EXPECT_TRUE(has(of_json({{"lines", "many"}}), "\"lines\" wants a whole number, not \"many\""));
  EXPECT_TRUE(has(of_json({{"layers", 1.5}}), "layers"));
  EXPECT_TRUE(has(of_json({{"lines", 3000000000}}), "lines"));
  EXPECT_TRUE(has(of_json({{"filled", 1}}), "true or false"));
  EXPECT_TRUE(has(of_json({{"notes", {1, 2}}}), "list of texts"));
  EXPECT_TRUE(has(of_json({{"shade", 2}}), "one of light, dark"));
  EXPECT_TRUE(has(of_json({{"lines", nullptr}}), "lines"));
  for (const auto& [name, text] : {std::pair{"lines", "3x"}, {"line_width", "nan"}, {"filled", "maybe"}, {"nothing", "1"}, {"layers", "a"}})
    EXPECT_NE(refusal([&](Drawing& d) { read_field(d, name, text); }), "") << name;
}

TEST(Fields, DifferencesAreNamedInOrder) {
  Drawing drawing;
  EXPECT_TRUE(differing_fields(drawing, Drawing{}).empty());
  drawing.paper.path = "p.png";
  drawing.layers = 1;
  drawing.notes = {""};
  EXPECT_EQ(differing_fields(drawing, Drawing{}), (std::vector<std::string>{"layers", "notes", "paper"}));
}

}  // namespace lorikeet
