// The rules of docs/architecture.md that can be read off the source text: who includes whom, what is built, what is kept in one place.
// Each rule is a function from one file to its faults ("file:line: what"), so that it is also tried on text that breaks it.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

// The arrows: a folder includes itself, these, and what they reach.
const std::map<std::string, std::set<std::string>> kArrows{
    {"base", {}},
    {"io", {"base"}},
    {"sampling", {"base"}},
    {"nn", {"io"}},
    {"lora", {"nn"}},
    {"model", {"nn", "sampling"}},
    {"workshop", {"lora", "model"}},
    {"prompt", {"model"}},
    {"library", {"prompt", "workshop"}},
    {"generate", {"prompt", "lora"}},
    {"training", {"prompt", "lora"}},
    {"server", {"generate", "library", "training"}},
    {"cli", {"server"}},
};

// What lies outside of src/: `lorikeet bench` runs the benchmarks of bench/.
bool is_known_outsider(const std::string& folder, const std::string& header) { return folder == "cli" && header == "bench.h"; }

std::set<std::string> reached(const std::string& folder) {
  std::set<std::string> all{folder};
  for (const auto& next : kArrows.at(folder)) all.merge(reached(next));
  return all;
}

struct SourceFile {
  std::string path;  // relative to the repository, with '/'
  std::vector<std::string> lines;

  // "src/nn/kernels/isa.h" -> "nn"
  std::string folder() const {
    const auto begin = path.find('/') + 1;
    return path.substr(begin, path.find('/', begin) - begin);
  }
  bool is_header() const { return path.ends_with(".h"); }
};

using Faults = std::vector<std::string>;

std::string fault(const SourceFile& file, size_t line, const std::string& what) {
  return file.path + ":" + std::to_string(line + 1) + ": " + what;
}

// Calls found(line, match) for every line that matches.
template <class Found>
void each_match(const SourceFile& file, const std::regex& pattern, Found found) {
  std::smatch match;
  for (size_t i = 0; i < file.lines.size(); ++i) {
    if (std::regex_search(file.lines[i], match, pattern)) found(i, match);
  }
}

// --- the rules ---

const std::regex kOwnInclude("^\\s*#\\s*include\\s*\"([^\"]+)\"");

Faults includes_against_the_arrows(const SourceFile& file) {
  Faults faults;
  const std::string folder = file.folder();
  if (!kArrows.contains(folder)) return {fault(file, 0, "the folder " + folder + " has no line among the arrows of this test")};
  const auto allowed = reached(folder);
  each_match(file, kOwnInclude, [&](size_t line, const std::smatch& match) {
    const std::string header = match[1];
    const auto slash = header.find('/');
    if (slash == std::string::npos) {
      if (!is_known_outsider(folder, header) && !header.ends_with(".inc")) faults.push_back(fault(file, line, "\"" + header + "\" is not written from src/ on"));
    } else if (!allowed.contains(header.substr(0, slash))) {
      faults.push_back(fault(file, line, folder + " must not include " + header));
    } else if (file.path.starts_with("src/nn/kernels/") && !header.starts_with("nn/kernels/") && !header.starts_with("base/")) {
      faults.push_back(fault(file, line, "the kernels are below the layers and must not include " + header));
    }
  });
  return faults;
}

Faults torch_outside_of_base(const SourceFile& file) {
  Faults faults;
  static const std::regex pattern("^\\s*#\\s*include\\s*[<\"]torch/");
  if (file.path.starts_with("src/base/torch") && file.path.ends_with(".h")) return faults;
  each_match(file, pattern, [&](size_t line, const std::smatch&) { faults.push_back(fault(file, line, "libtorch is included through base/torch.h")); });
  return faults;
}

Faults too_long(const SourceFile& file) {
  constexpr size_t kMostLines = 600;
  if (file.lines.size() <= kMostLines) return {};
  return {fault(file, kMostLines, std::to_string(file.lines.size()) + " lines, " + std::to_string(kMostLines) + " are the most")};
}

// Models differ by the data of their ModelSpec; only a family's own file knows its name.
Faults asks_for_the_family(const SourceFile& file) {
  Faults faults;
  static const std::regex pattern("\\bfamily\\b(\\(\\))?\\s*[=!]=\\s*\"|\"\\s*[=!]=\\s*[\\w.>-]*\\bfamily\\b|starts_with\\([\\w.>-]*\\bfamily\\b,\\s*\"");
  if (file.path.starts_with("src/model/families/")) return faults;
  each_match(file, pattern, [&](size_t line, const std::smatch&) { faults.push_back(fault(file, line, "a family is asked for by name: read the data of ModelSpec")); });
  return faults;
}

Faults header_without_contract(const SourceFile& file) {
  if (!file.is_header()) return {};
  Faults faults;
  if (file.lines.empty() || !file.lines[0].starts_with("// ")) faults.push_back(fault(file, 0, "a header opens with what it is for"));
  if (std::find(file.lines.begin(), file.lines.end(), "#pragma once") == file.lines.end()) faults.push_back(fault(file, 0, "no #pragma once"));
  return faults;
}

// The words of a CMake file without its comments.
std::set<std::string> cmake_words(const std::vector<std::string>& lines) {
  std::set<std::string> words;
  for (std::string line : lines) {
    line = line.substr(0, line.find('#'));
    std::replace_if(line.begin(), line.end(), [](char c) { return std::string_view("()\";").find(c) != std::string_view::npos; }, ' ');
    std::istringstream stream(line);
    for (std::string word; stream >> word;) words.insert(word);
  }
  return words;
}

// What lorikeet_folder(NAME …) says behind DEPENDS.
std::set<std::string> cmake_depends(const std::string& text) {
  static const std::regex pattern("DEPENDS\\s+([a-z_ \\t\\n]+)");
  const auto begin = text.find("lorikeet_folder(");
  std::smatch match;
  const std::string call = text.substr(begin, text.find(')', begin) - begin);
  if (begin == std::string::npos || !std::regex_search(call, match, pattern)) return {};
  std::istringstream stream(match[1]);
  return {std::istream_iterator<std::string>(stream), {}};
}

// --- reading ---

std::vector<std::string> read_lines(const fs::path& path) {
  std::ifstream stream(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

const fs::path kRoot = LORIKEET_SOURCE_DIR;

std::vector<SourceFile> sources_below(const std::string& folder) {
  std::vector<SourceFile> files;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
    if (entry.path().extension() != ".h" && entry.path().extension() != ".cpp") continue;
    files.push_back({fs::relative(entry.path(), kRoot).generic_string(), read_lines(entry.path())});
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

const std::vector<SourceFile>& src() {
  static const auto files = sources_below("src");
  return files;
}

void expect_none(const std::vector<SourceFile>& files, Faults (*rule)(const SourceFile&)) {
  EXPECT_GT(files.size(), 10u);
  for (const auto& file : files) {
    for (const auto& found : rule(file)) ADD_FAILURE() << found;
  }
}

// --- the sources keep the rules ---

TEST(Architecture, IncludesFollowTheArrows) { expect_none(src(), includes_against_the_arrows); }

TEST(Architecture, EveryFolderLinksItsArrowsAndNoMore) {
  for (const auto& [folder, arrows] : kArrows) {
    std::ostringstream text;
    text << std::ifstream(kRoot / "src" / folder / "CMakeLists.txt").rdbuf();
    EXPECT_EQ(cmake_depends(text.str()), arrows) << "src/" << folder << "/CMakeLists.txt";
  }
}

TEST(Architecture, EverySourceIsListedInItsFolder) {
  for (const auto& file : src()) {
    if (file.is_header()) continue;
    fs::path folder = (kRoot / file.path).parent_path();
    while (!fs::exists(folder / "CMakeLists.txt")) folder = folder.parent_path();
    const std::string name = fs::relative(kRoot / file.path, folder).generic_string();
    EXPECT_TRUE(cmake_words(read_lines(folder / "CMakeLists.txt")).contains(name))
        << file.path << ":1: " << fs::relative(folder, kRoot).generic_string() << "/CMakeLists.txt does not list " << name;
  }
}

TEST(Architecture, LibtorchIsIncludedInOnePlace) {
  for (const char* folder : {"src", "tests", "tools", "bench"}) {
    for (const auto& file : sources_below(folder)) {
      for (const auto& found : torch_outside_of_base(file)) ADD_FAILURE() << found;
    }
  }
}

TEST(Architecture, NoFileIsTooLong) { expect_none(src(), too_long); }
TEST(Architecture, OnlyAFamilysOwnFileKnowsItsName) { expect_none(src(), asks_for_the_family); }
TEST(Architecture, EveryHeaderOpensWithItsContract) { expect_none(src(), header_without_contract); }

// --- the rules see what breaks them ---

TEST(ArchitectureRules, AnArrowAgainstTheDirectionIsAFault) {
  const SourceFile file{"src/lora/file.cpp", {"#include \"lora/file.h\"", "#include \"io/zip.h\"", "#include \"model/spec.h\"", "#include \"file.h\""}};
  EXPECT_EQ(includes_against_the_arrows(file),
            (Faults{"src/lora/file.cpp:3: lora must not include model/spec.h", "src/lora/file.cpp:4: \"file.h\" is not written from src/ on"}));
  EXPECT_EQ(includes_against_the_arrows({"src/nn/kernels/isa.cpp", {"#include \"nn/layer.h\""}}).size(), 1u);
  EXPECT_EQ(includes_against_the_arrows({"src/web/page.cpp", {}}).size(), 1u);
}

TEST(ArchitectureRules, TorchOutsideOfBaseIsAFault) {
  EXPECT_EQ(torch_outside_of_base({"src/nn/layer.cpp", {"", "# include <torch/torch.h>"}}).size(), 1u);
  EXPECT_TRUE(torch_outside_of_base({"src/nn/layer.cpp", {"#include \"base/torch.h\""}}).empty());
}

TEST(ArchitectureRules, AskingForAFamilyIsAFault) {
  for (const char* line : {"if (spec.family == \"sd1\") {", "return \"sdxl\" != model->family;", "if (starts_with(spec.family, \"sd\"))"}) {
    EXPECT_EQ(asks_for_the_family({"src/generate/engine.cpp", {line}}).size(), 1u) << line;
    EXPECT_TRUE(asks_for_the_family({"src/model/families/sd1.cpp", {line}}).empty());
  }
  EXPECT_TRUE(asks_for_the_family({"src/model/spec.h", {"std::string_view family;  // \"sd1\", \"sd2\""}}).empty());
}

TEST(ArchitectureRules, LongFilesAndBareHeadersAreFaults) {
  EXPECT_EQ(too_long({"src/io/zip.cpp", std::vector<std::string>(601)}).size(), 1u);
  EXPECT_TRUE(too_long({"src/io/zip.cpp", std::vector<std::string>(600)}).empty());
  EXPECT_EQ(header_without_contract({"src/io/zip.h", {"#include <map>"}}).size(), 2u);
}

TEST(ArchitectureRules, CMakeFilesAreReadWithoutTheirComments) {
  EXPECT_EQ(cmake_words({"add(x SOURCES a.cpp b.cpp) # c.cpp"}), (std::set<std::string>{"add", "x", "SOURCES", "a.cpp", "b.cpp"}));
  EXPECT_EQ(cmake_depends("lorikeet_folder(x\n  SOURCES a.cpp\n  DEPENDS nn\n sampling LIBRARIES Y)"), (std::set<std::string>{"nn", "sampling"}));
  EXPECT_TRUE(cmake_depends("lorikeet_folder(base SOURCES a.cpp)").empty());
}

}  // namespace
