// Reading safetensors: 8 bytes of length, a JSON header, then the tensors without gaps. Every rule of the reference reader is
// checked (github.com/huggingface/safetensors, README "Format"), since files come from strangers.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "io/formats.h"
#include "io/stored_dtype.h"

namespace lorikeet {
namespace {

constexpr uint64_t kMostHeaderBytes = 100'000'000;  // the reference reader's limit
constexpr const char* kDamaged = "the file is damaged; download it again";

[[noreturn]] void bad_safetensors(const std::string& message, const std::string& hint = kDamaged) { throw Error(ErrorKind::bad_input, message, hint); }

// `bytes`: the file's first 8, or more.
uint64_t header_bytes(std::string_view bytes, uint64_t file_size) {
  if (bytes.size() < 8) bad_safetensors("the file is too short for safetensors: " + std::to_string(bytes.size()) + " bytes");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  if (length > kMostHeaderBytes) bad_safetensors("the header's length is given as " + std::to_string(length) + " bytes, more than any real file has");
  if (length > file_size - 8) {
    bad_safetensors("the file ends within its header: " + std::to_string(length - (file_size - 8)) + " bytes are missing",
         "the file is truncated; download it again");
  }
  return length;
}

struct Described {
  std::string name, dtype;
  std::optional<Shape> shape;
  std::vector<uint64_t> offsets;
  bool has_offsets = false;
};

// The header by events: duplicates are seen, and nothing nests, so a hostile depth costs nothing.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::map<std::string, std::string> metadata;
  std::vector<Described> tensors;

  bool start_object(size_t) override {
    if (depth_ == 0) return ++depth_ > 0;
    if (depth_ != 1) unexpected("an object");
    if (key_ != "__metadata__") tensors.push_back({key_, {}, {}, {}, false});
    ++depth_;
    return true;
  }
  bool end_object() override {
    if (depth_ == 2 && !in_metadata()) check_complete(tensors.back());
    --depth_;
    return true;
  }
  bool key(string_t& key) override {
    if (depth_ == 1) {
      if (!names_.insert(key).second) bad_safetensors("the header names \"" + key + "\" twice");
      key_ = key;
      return true;
    }
    field_ = key;
    if (in_metadata()) {
      if (metadata.contains(key)) bad_safetensors("__metadata__ names \"" + key + "\" twice");
    } else {
      check_field();
    }
    return true;
  }
  bool start_array(size_t) override {
    if (depth_ != 2 || in_metadata() || in_array_ || field_ == "dtype") unexpected("a list");
    if (field_ == "shape") tensors.back().shape.emplace();
    if (field_ == "data_offsets") tensors.back().has_offsets = true;
    in_array_ = true;
    return true;
  }
  bool end_array() override { return !(in_array_ = false); }
  bool string(string_t& value) override {
    if (depth_ != 2 || in_array_ || (!in_metadata() && field_ != "dtype")) unexpected("a text");
    if (in_metadata()) {
      metadata[field_] = value;
    } else {
      tensors.back().dtype = value;
    }
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (!in_array_) unexpected("a number");
    Described& tensor = tensors.back();
    if (field_ == "data_offsets") {
      tensor.offsets.push_back(value);
    } else {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) || tensor.shape->size() >= 64) {
        bad_safetensors("the shape of tensor \"" + key_ + "\" is out of range");
      }
      tensor.shape->push_back(static_cast<int64_t>(value));
    }
    return true;
  }
  bool null() override { return (depth_ == 1 && key_ == "__metadata__") || unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return unexpected("a number that is no whole one"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    bad_safetensors("the header is not valid JSON (byte " + std::to_string(position) + ")");
  }

 private:
  bool in_metadata() const { return key_ == "__metadata__"; }

  bool unexpected(const std::string& what) const {
    if (depth_ == 0) bad_safetensors("the header is " + what + " where an object is wanted");
    if (depth_ == 1) bad_safetensors("the header's entry \"" + key_ + "\" is " + what + " where an object is wanted");
    if (in_metadata()) bad_safetensors("the metadata \"" + field_ + "\" is or holds " + what + " where a text is wanted");
    bad_safetensors("\"" + field_ + "\" of tensor \"" + key_ + "\" is or holds " + what + ", which it must not");
  }

  void check_field() const {
    const Described& tensor = tensors.back();
    const bool seen = field_ == "dtype" ? !tensor.dtype.empty() : field_ == "shape" ? tensor.shape.has_value() : tensor.has_offsets;
    if (field_ != "dtype" && field_ != "shape" && field_ != "data_offsets") {
      bad_safetensors("tensor \"" + key_ + "\" has the unknown field \"" + field_ + "\"");
    }
    if (seen) bad_safetensors("tensor \"" + key_ + "\" has \"" + field_ + "\" twice");
  }

  static void check_complete(const Described& tensor) {
    if (tensor.dtype.empty()) bad_safetensors("tensor \"" + tensor.name + "\" has no dtype");
    if (!tensor.shape) bad_safetensors("tensor \"" + tensor.name + "\" has no shape");
    if (tensor.offsets.size() != 2) bad_safetensors("tensor \"" + tensor.name + "\" has no pair of data_offsets");
  }

  int depth_ = 0;
  bool in_array_ = false;
  std::string key_, field_;
  std::set<std::string> names_;
};

const StoredDtype& checked_dtype(const Described& tensor) {
  const StoredDtype* stored = find_stored_dtype(tensor.dtype);
  if (stored == nullptr) {
    throw Error(ErrorKind::unsupported, "tensor \"" + tensor.name + "\" has the unknown dtype \"" + valid_utf8(tensor.dtype) + "\"",
                "convert the file to float16 or float32");
  }
  return *stored;
}

void check_size(const Described& tensor, const StoredDtype& stored) {
  const auto numel = checked_numel(*tensor.shape);
  int64_t bytes = 0;
  if (!numel || __builtin_mul_overflow(*numel, stored.size, &bytes)) {
    bad_safetensors("the shape of tensor \"" + tensor.name + "\" is impossible: " + to_string(*tensor.shape));
  }
  if (tensor.offsets[0] > tensor.offsets[1]) bad_safetensors("the data_offsets of tensor \"" + tensor.name + "\" are reversed");
  const uint64_t have = tensor.offsets[1] - tensor.offsets[0];
  if (have != static_cast<uint64_t>(bytes)) {
    bad_safetensors("tensor \"" + tensor.name + "\" of shape " + to_string(*tensor.shape) + " in " + tensor.dtype + " needs " + std::to_string(bytes) +
         " bytes, its data_offsets span " + std::to_string(have));
  }
}

// The tensors must cover the data from its first to its last byte, each byte once.
void check_layout(const std::vector<Described>& tensors, uint64_t data_size) {
  std::vector<const Described*> order;
  for (const auto& tensor : tensors) order.push_back(&tensor);
  std::ranges::sort(order, {}, [](const Described* t) { return std::pair(t->offsets[0], t->offsets[1]); });
  uint64_t end = 0;
  for (const Described* tensor : order) {
    if (tensor->offsets[0] < end) bad_safetensors("tensor \"" + tensor->name + "\" overlaps another one");
    if (tensor->offsets[0] > end)
      bad_safetensors("there is a gap of " + std::to_string(tensor->offsets[0] - end) + " bytes before tensor \"" + tensor->name + "\"");
    end = tensor->offsets[1];
  }
  if (end > data_size) {
    bad_safetensors("the file ends too early: " + std::to_string(end - data_size) + " bytes are missing", "the file is truncated; download it again");
  }
  if (end < data_size) bad_safetensors(std::to_string(data_size - end) + " bytes follow the last tensor, which belong to nothing");
}

TensorEntry make_entry(const std::shared_ptr<const MappedFile>& file, const char* data, const StoredDtype& stored, Shape shape) {
  auto view = [file, data, &stored, shape] { return tensor_at(file, data, stored, shape, contiguous_strides(shape)); };
  return {std::string(stored.name), stored.dtype, std::move(shape), std::move(view)};
}

}  // namespace

// The brace alone decides: a file with a brace there and a mad length is a damaged safetensors file.
bool looks_like_safetensors(std::string_view bytes) {
  if (bytes.size() <= 8) return false;
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  // A JSON text that happens to have a brace at byte 8 begins with printable characters: a length beyond 2^56.
  return bytes[8] == '{' &&
         (length <= kMostHeaderBytes || !is_valid_utf8(bytes.substr(0, 8)) || bytes.substr(0, 8).find('\0') != bytes.npos);
}

size_t safetensors_data_begin(std::string_view bytes) { return 8 + static_cast<size_t>(header_bytes(bytes, bytes.size())); }

size_t safetensors_data_begin(std::string_view beginning, uint64_t file_size) {
  return 8 + static_cast<size_t>(header_bytes(beginning, file_size));
}

namespace {

// Checked as a whole. `data_size`: of all behind the header.
HeaderReader read_header(std::string_view header, uint64_t data_size) {
  HeaderReader reader;
  nlohmann::json::sax_parse(header.begin(), header.end(), &reader);
  for (const auto& tensor : reader.tensors) check_size(tensor, checked_dtype(tensor));
  check_layout(reader.tensors, data_size);
  return reader;
}

}  // namespace

std::shared_ptr<const TensorFile> parse_safetensors(std::shared_ptr<const MappedFile> file) {
  const size_t begin = safetensors_data_begin(file->bytes());
  HeaderReader reader = read_header(file->bytes().substr(8, begin - 8), file->size() - begin);
  std::map<std::string, TensorEntry> tensors;
  for (auto& tensor : reader.tensors) {
    const char* data = file->bytes().data() + begin + tensor.offsets[0];
    tensors.emplace(tensor.name, make_entry(file, data, checked_dtype(tensor), *tensor.shape));
  }
  return std::make_shared<TensorFile>(file->path(), FileFormat::safetensors, std::move(reader.metadata), std::move(tensors));
}

std::shared_ptr<const TensorFile> parse_safetensors_header(std::filesystem::path path, std::string_view header, uint64_t file_size) {
  HeaderReader reader = read_header(header, file_size - 8 - header.size());
  std::map<std::string, TensorEntry> tensors;
  for (auto& tensor : reader.tensors) {
    const StoredDtype& stored = checked_dtype(tensor);
    const auto no_data = []() -> Tensor { throw Error(ErrorKind::internal, "only the header of this file was read"); };
    tensors.emplace(std::move(tensor.name), TensorEntry{std::string(stored.name), stored.dtype, *std::move(tensor.shape), no_data});
  }
  return std::make_shared<TensorFile>(std::move(path), FileFormat::safetensors, std::move(reader.metadata), std::move(tensors));
}

}  // namespace lorikeet
