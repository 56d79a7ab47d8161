// The index: one row a file, in SQLite. Holds nothing that cannot be read again from the files (but the hashes take long), so a damaged
// one, or one of another version, is thrown away and made anew. For several threads: readers do not wait for the scan's writing.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "library/card.h"
#include "library/database.h"
#include "library/query.h"

namespace lorikeet {

// What tells whether a file must be read again.
struct FileState {
  int64_t size = 0, changed_ns = 0;
  std::string stamp;  // of its sidecars
  bool operator==(const FileState&) const = default;
};

struct IndexRow {
  int64_t id = 0;
  ModelKind kind{};
  std::string path, name;
  FileState state;
  bool shown = false, gone = false;
};

struct IndexEntry {
  ModelKind kind{};
  std::string path, place;  // bytes of the file system
  std::string base_name;    // as ModelFolders has it; card.name may have the extension too
  bool shown = true;        // false: hidden by a file of the same name
  FileState state;
  LibraryCard card;
  std::string claimed_hash;  // AutoV3 by the file's own words; ""
};

struct HashWork {
  int64_t id = 0;
  std::string path;
  FileState state;
};

// One row with what changes from outside of the file.
struct StoredCard {
  int64_t id = 0;
  LibraryCard card;
  std::string path, place, base_name, content;
};

class Index {
 public:
  // Error{io}: cannot be opened or made.
  explicit Index(std::filesystem::path file);

  // Called (under no lock) after the index had to be made anew while it was in use.
  void on_rebuilt(std::function<void()> callback) { rebuilt_ = std::move(callback); }

  // --- for the scan
  std::vector<IndexRow> rows();
  // Files of other places are gone.
  void keep_places(std::span<const std::string> places);
  void write(std::span<const IndexEntry> entries);
  void set_gone(std::span<const int64_t> ids);
  struct Name {
    int64_t id;
    std::string name;
    bool shown;
  };
  void set_names(std::span<const Name> names);
  void forget_older_than(int64_t seconds);  // rows of files that are gone for so long

  // --- for hashing
  // Files of equal sizes first (they may be duplicates), then LoRAs, embeddings, VAEs, checkpoints; small ones first.
  std::vector<HashWork> to_hash(int64_t most);
  // Nothing happens when the file has another state by now. Empty hashes: it could not be read.
  void set_hashes(const HashWork& work, const std::string& sha256, const std::string& tensors_sha256);
  int64_t unhashed();

  // --- for answers
  LibraryPage list(const LibraryQuery& query);
  std::optional<StoredCard> find(ModelKind kind, std::string_view name);
  // Also by the stem alone, the alias, a hash; case does not matter in the end.
  std::optional<StoredCard> find_meant(ModelKind kind, std::string_view name);
  std::vector<std::string> names(ModelKind kind);
  std::vector<std::string> same_content(const StoredCard& stored);
  std::vector<std::string> same_stem(const StoredCard& stored);
  // Paths of files that are hidden by this one.
  std::vector<std::string> hidden_by(const StoredCard& stored);

 private:
  template <class Work>
  auto reading(Work&& work);
  template <class Work>
  auto writing(Work&& work);
  void open();
  [[noreturn]] void rebuild(const std::string& why);

  std::filesystem::path file_;
  std::mutex reading_, writing_;
  std::unique_ptr<Database> reader_, writer_;
  std::function<void()> rebuilt_;
};

}  // namespace lorikeet
