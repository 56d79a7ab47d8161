#include "library/index.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "library/fold.h"
#include "library/index_access.h"
#include "library/library_json.h"

namespace fs = std::filesystem;

namespace lorikeet {
namespace {

// Another layout, or other things read from the files: another number. An index of another number is made anew.
constexpr int64_t kVersion = 2;

// Filters and sorts read the narrow table only. details.text is what search words are looked for in, three letters at a time (FTS5's
// trigrams: any part of a word is found).
constexpr const char* kSchema = R"(
CREATE TABLE items(
  id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, path BLOB NOT NULL, place BLOB NOT NULL, base_name TEXT NOT NULL, name TEXT NOT NULL,
  stem TEXT NOT NULL, alias TEXT NOT NULL, folder TEXT NOT NULL, sort_name TEXT NOT NULL,
  size INTEGER NOT NULL, changed INTEGER NOT NULL, stamp TEXT NOT NULL, modified INTEGER NOT NULL, added INTEGER NOT NULL,
  shown INTEGER NOT NULL, gone INTEGER NOT NULL DEFAULT 0,
  family TEXT NOT NULL, tags TEXT NOT NULL, favourite INTEGER NOT NULL, rating INTEGER NOT NULL,
  sha256 TEXT NOT NULL DEFAULT '', tensors_sha256 TEXT NOT NULL DEFAULT '', claimed TEXT NOT NULL DEFAULT '',
  autov3 TEXT AS (CASE WHEN tensors_sha256 != '' THEN tensors_sha256 ELSE claimed END) STORED,
  hashed INTEGER NOT NULL DEFAULT 0,
  UNIQUE(kind, path));
CREATE INDEX by_name ON items(kind, shown, sort_name);
CREATE INDEX by_folder ON items(kind, shown, folder);
CREATE INDEX by_family ON items(kind, shown, family);
CREATE INDEX by_content ON items(autov3);
CREATE INDEX gone_files ON items(size, changed) WHERE gone != 0;
CREATE TABLE details(id INTEGER PRIMARY KEY, text TEXT NOT NULL, card TEXT NOT NULL);
CREATE VIRTUAL TABLE search USING fts5(text, content='details', content_rowid='id', tokenize='trigram');
CREATE TRIGGER item_removed AFTER DELETE ON items BEGIN DELETE FROM details WHERE id = old.id; END;
CREATE TRIGGER details_added AFTER INSERT ON details BEGIN INSERT INTO search(rowid, text) VALUES (new.id, new.text); END;
CREATE TRIGGER details_removed AFTER DELETE ON details BEGIN
  INSERT INTO search(search, rowid, text) VALUES ('delete', old.id, old.text); END;
CREATE TRIGGER details_changed AFTER UPDATE OF text ON details WHEN old.text != new.text BEGIN
  INSERT INTO search(search, rowid, text) VALUES ('delete', old.id, old.text);
  INSERT INTO search(rowid, text) VALUES (new.id, new.text); END;
)";

constexpr std::string_view kWrite = R"(
INSERT INTO items(kind, path, place, base_name, name, stem, alias, folder, sort_name, size, changed, stamp, modified, added, shown, family, tags,
                  favourite, rating, claimed)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
ON CONFLICT(kind, path) DO UPDATE SET
  place = ?3, base_name = ?4, name = ?5, stem = ?6, alias = ?7, folder = ?8, sort_name = ?9, stamp = ?12, modified = ?13, added = min(added, ?14),
  shown = ?15, gone = 0, family = ?16, tags = ?17, favourite = ?18, rating = ?19, claimed = ?20,
  sha256 = CASE WHEN size = ?10 AND changed = ?11 THEN sha256 ELSE '' END,
  tensors_sha256 = CASE WHEN size = ?10 AND changed = ?11 THEN tensors_sha256 ELSE '' END,
  hashed = CASE WHEN size = ?10 AND changed = ?11 THEN hashed ELSE 0 END,
  size = ?10, changed = ?11
RETURNING id)";
constexpr std::string_view kWriteDetails =
    "INSERT INTO details(id, card, text) VALUES (?1, ?2, ?3) ON CONFLICT(id) DO UPDATE SET card = ?2, text = ?3";

// A file that was moved or renamed keeps its size and its time of change.
constexpr std::string_view kTakeHashes = R"(
UPDATE items SET (sha256, tensors_sha256, hashed) =
  (SELECT sha256, tensors_sha256, 1 FROM items o WHERE o.size = ?3 AND o.changed = ?4 AND o.gone != 0 AND o.hashed = 1 LIMIT 1)
WHERE kind = ?1 AND path = ?2 AND hashed = 0
  AND EXISTS (SELECT 1 FROM items o WHERE o.size = ?3 AND o.changed = ?4 AND o.gone != 0 AND o.hashed = 1))";

int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void remove_files(const fs::path& file) {
  std::error_code ignored;
  for (const char* ending : {"", "-wal", "-shm", "-journal"}) fs::remove(file.string() + ending, ignored);
}

// Folded, each between line breaks: a tag is found as a whole.
std::string tag_lines(const LibraryCard& card) {
  std::string lines = "\n";
  for (const auto& [tag, count] : card.tags) lines += fold(tag) + "\n";
  return lines;
}

std::string search_text(const LibraryCard& card) {
  constexpr size_t kMostDescription = 4096;
  std::string text = card.name + "\n" + card.file_name + "\n" + card.title + "\n" + card.alias + "\n";
  for (const std::string& word : card.trigger_words) text += word + "\n";
  for (const auto& [tag, count] : card.tags) text += tag + "\n";
  text += card.base_model_claim + "\n" + card.notes + "\n" + card.description.substr(0, kMostDescription);
  // Line by line, so that no search word reaches over two of them.
  std::string folded;
  for (const std::string_view line : split(text, '\n'))
    if (!line.empty()) folded += fold(line) + "\n";
  return folded;
}

void bind(Statement& write, const IndexEntry& entry) {
  const LibraryCard& card = entry.card;
  const std::string stem = entry.base_name.substr(entry.base_name.rfind('/') + 1);
  write.bind(1, static_cast<int>(entry.kind)).bind_bytes(2, entry.path).bind_bytes(3, entry.place);
  write.bind(4, entry.base_name).bind(5, card.name).bind(6, stem).bind(7, card.alias).bind(8, card.folder);
  write.bind(9, sort_key(stem) + "\n" + sort_key(card.name));
  write.bind(10, entry.state.size).bind(11, entry.state.changed_ns).bind(12, entry.state.stamp);
  write.bind(13, card.modified).bind(14, card.added).bind(15, entry.shown ? 1 : 0).bind(16, card.family).bind(17, tag_lines(card));
  write.bind(18, card.favourite ? 1 : 0).bind(19, card.rating.value_or(0)).bind(20, entry.claimed_hash);
}

bool is_sound(Database& database) {
  Statement version(database, "PRAGMA user_version");
  if (!version.step() || version.integer(0) != kVersion) return false;
  Statement check(database, "PRAGMA quick_check(1)");
  return check.step() && check.text(0) == "ok";
}

}  // namespace

Index::Index(fs::path file) : file_(std::move(file)) {
  try {
    open();
  } catch (const DamagedDatabase&) {
    reader_.reset();
    writer_.reset();
    remove_files(file_);
    open();
  }
}

void Index::open() {
  writer_ = std::make_unique<Database>(file_);
  if (!is_sound(*writer_)) {
    writer_.reset();
    remove_files(file_);
    writer_ = std::make_unique<Database>(file_);
    Transaction transaction(*writer_);
    writer_->run(kSchema);
    writer_->run(("PRAGMA user_version=" + std::to_string(kVersion)).c_str());
    transaction.commit();
  }
  reader_ = std::make_unique<Database>(file_);
}

void Index::rebuild(const std::string& why) {
  {
    const std::scoped_lock lock(reading_, writing_);
    reader_.reset();
    writer_.reset();
    remove_files(file_);
    try {
      open();
    } catch (const DamagedDatabase& damage) {
      throw Error(ErrorKind::io, "the index of the library cannot be made anew: " + damage.what, "look at the disk that holds the data folder");
    }
  }
  if (rebuilt_) rebuilt_();
  throw Error(ErrorKind::io, "the index of the library was damaged (" + why + ") and is made anew", "try again in a moment");
}

std::vector<IndexRow> Index::rows() {
  return reading([](Database& database) {
    Statement select(database, "SELECT id, kind, path, name, size, changed, stamp, shown, gone FROM items");
    std::vector<IndexRow> rows;
    while (select.step()) {
      IndexRow row{select.integer(0), static_cast<ModelKind>(select.integer(1)), select.text(2), select.text(3), {}, false, false};
      row.state = {select.integer(4), select.integer(5), select.text(6)};
      row.shown = select.integer(7) != 0;
      row.gone = select.integer(8) != 0;
      rows.push_back(std::move(row));
    }
    return rows;
  });
}

void Index::keep_places(std::span<const std::string> places) {
  writing([&](Database& database) {
    std::string marks;
    for (size_t i = 0; i < places.size(); ++i) marks += i ? ",?" : "?";
    Statement update(database, "UPDATE items SET gone = ?1, shown = 0 WHERE gone = 0 AND place NOT IN (" + marks + ")");
    update.bind(1, now_seconds());
    for (size_t i = 0; i < places.size(); ++i) update.bind_bytes(static_cast<int>(i) + 2, places[i]);
    update.run();
  });
}

void Index::write(std::span<const IndexEntry> entries) {
  writing([&](Database& database) {
    Statement write(database, kWrite), details(database, kWriteDetails), take(database, kTakeHashes);
    for (const IndexEntry& entry : entries) {
      bind(write, entry);
      if (!write.step()) continue;
      const int64_t id = write.integer(0);
      write.run();
      const std::string card = json_of(entry.card).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
      details.bind(1, id).bind(2, card).bind(3, search_text(entry.card)).run();
      take.bind(1, static_cast<int>(entry.kind)).bind_bytes(2, entry.path).bind(3, entry.state.size).bind(4, entry.state.changed_ns);
      take.run();
    }
  });
}

void Index::set_gone(std::span<const int64_t> ids) {
  writing([&](Database& database) {
    Statement update(database, "UPDATE items SET gone = ?1, shown = 0 WHERE id = ?2");
    for (const int64_t id : ids) update.bind(1, now_seconds()).bind(2, id).run();
  });
}

void Index::set_names(std::span<const Name> names) {
  writing([&](Database& database) {
    Statement update(database, "UPDATE items SET name = ?1, shown = ?2, gone = 0 WHERE id = ?3");
    for (const Name& name : names) update.bind(1, name.name).bind(2, name.shown ? 1 : 0).bind(3, name.id).run();
  });
}

void Index::forget_older_than(int64_t seconds) {
  writing([&](Database& database) {
    Statement(database, "DELETE FROM items WHERE gone != 0 AND gone < ?1").bind(1, now_seconds() - seconds).run();
  });
}

std::vector<HashWork> Index::to_hash(int64_t most) {
  return reading([&](Database& database) {
    // The order of the kinds in ModelKind is checkpoint, LoRA, embedding, VAE.
    Statement select(database,
                     "SELECT id, path, size, changed, stamp, size IN (SELECT size FROM items WHERE gone = 0 GROUP BY kind, size HAVING count(*) > 1) "
                     "AS twin FROM items WHERE hashed = 0 AND gone = 0 ORDER BY twin DESC, CASE kind WHEN 0 THEN 9 ELSE kind END, size LIMIT ?1");
    select.bind(1, most);
    std::vector<HashWork> work;
    while (select.step())
      work.push_back({select.integer(0), select.text(1), {select.integer(2), select.integer(3), select.text(4)}});
    return work;
  });
}

void Index::set_hashes(const HashWork& work, const std::string& sha256, const std::string& tensors_sha256) {
  writing([&](Database& database) {
    Statement(database, "UPDATE items SET sha256 = ?1, tensors_sha256 = ?2, hashed = ?3 WHERE id = ?4 AND size = ?5 AND changed = ?6")
        .bind(1, sha256)
        .bind(2, tensors_sha256)
        .bind(3, sha256.empty() ? 2 : 1)
        .bind(4, work.id)
        .bind(5, work.state.size)
        .bind(6, work.state.changed_ns)
        .run();
  });
}

int64_t Index::unhashed() {
  return reading([](Database& database) {
    Statement select(database, "SELECT count(*) FROM items WHERE hashed = 0 AND gone = 0");
    return select.step() ? select.integer(0) : 0;
  });
}

}  // namespace lorikeet
