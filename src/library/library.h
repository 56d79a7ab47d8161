// The library of models: finds the files of the model folders, reads their headers and sidecars, keeps an index of them (SQLite, below the
// data folder; it may be deleted at any time), hashes in the background, notices changes, answers queries. Runs no model.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/model_folders.h"
#include "library/card.h"
#include "library/query.h"

namespace lorikeet {

struct LibraryOptions {
  ModelFolders folders;
  std::filesystem::path data;  // made when it is missing; holds library.sqlite and the small previews
  bool watch = true;           // notice changes by inotify
  bool hash = true;            // compute hashes in the background, at the lowest priority
  int threads = 0;             // that read headers in a scan; 0: one a core, at most 8
};

// For several threads at once. Names are looked up in the index and never become paths. Every function throws Error{io} when the index
// cannot be read or written; a damaged one is made anew.
class Library {
 public:
  // Opens the index and starts a scan in the background; what an earlier run found can be asked for at once.
  // Error{io}: the data folder cannot be written.
  explicit Library(LibraryOptions options);
  ~Library();  // ends the background work; waits for what cannot be broken off (milliseconds)
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  const ModelFolders& folders() const;

  // Error{bad_input}: offset or limit out of range.
  LibraryPage list(const LibraryQuery& query) const;
  // Nothing when there is no such model. Reads the file's header anew.
  std::optional<LibraryItem> item(ModelKind kind, std::string_view name) const;
  // The same without opening the file; also takes what ModelFolders::find() takes (alias, stem alone, hash), by the index.
  std::optional<LibraryCard> card(ModelKind kind, std::string_view name) const;
  // Where it lies; Error{not_found} with the near names.
  std::filesystem::path path(ModelKind kind, std::string_view name) const;

  // Writes NAME.json beside the file as A1111 does, atomically; keys that are not known stay as they are. Favourite and rating are kept there
  // under "lorikeet". Error: not_found, bad_input (a value out of range; NAME.json is there and no JSON object), io.
  LibraryCard edit(ModelKind kind, std::string_view name, const LibraryEdit& change);

  // The picture that stands for the model: NAME.preview.EXT, NAME.EXT (png, jpg, jpeg, webp, gif), else one within the file. Nothing when there is
  // none. width_px > 0 gives it in that width (rounded up to 64, 128, … 1024) as JPEG where it is wider and can be decoded; kept in the data folder.
  // Error{not_found}: no such model.
  std::optional<PreviewFile> preview(ModelKind kind, std::string_view name, int width_px = 0) const;
  // Writes NAME.preview.png: the bytes themselves where they are a PNG, else the picture as PNG with its text. Error: not_found, bad_input
  // (no picture), io.
  LibraryCard set_preview(ModelKind kind, std::string_view name, std::string_view picture);

  // Headers only. Error{not_found}: no such LoRA, no such checkpoint. What cannot be read does not fit, and the reason says why.
  LoraFit fits(std::string_view lora, std::string_view checkpoint) const;

  // Scans now; returns when the index is up to date. -> version()
  uint64_t refresh();
  // Grows with every change that list() shows. Begins at 1.
  uint64_t version() const;
  bool scanning() const;
  // Called from a background thread with the new version, at most five times a second. One callback; empty: none. Must not call back into
  // on_change() or destroy the library.
  void on_change(std::function<void(uint64_t version)> callback);

  // Waits until nothing is left to hash (tests, tools). False after `timeout_s`.
  bool wait_for_hashes(double timeout_s) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lorikeet
