// Writing safetensors: the header, then the tensors in the reference writer's order, so that hashes agree.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "io/safetensors_writer.h"
#include "io/stored_dtype.h"
#include "io/tensor_file.h"

namespace lorikeet {
namespace {

std::string quoted(const std::string& text) {
  if (!is_valid_utf8(text)) throw Error(ErrorKind::bad_input, "a name or a metadata text is not UTF-8: " + valid_utf8(text));
  return nlohmann::json(text).dump();
}

const StoredDtype& stored(const TensorShape& tensor) {
  const StoredDtype* found = find_stored_dtype(tensor.dtype);
  if (!found) throw Error(ErrorKind::unsupported, "tensor \"" + tensor.name + "\" of type " + to_string(tensor.dtype) + " cannot be stored");
  return *found;
}

std::vector<TensorShape> in_file_order(std::vector<TensorShape> tensors) {
  for (const TensorShape& tensor : tensors) {
    if (tensor.name == "__metadata__") throw Error(ErrorKind::bad_input, "a tensor cannot be named __metadata__");
    stored(tensor);
  }
  // The rows of stored_dtypes() are one array, so that addresses compare as ranks.
  std::ranges::sort(tensors, [](const TensorShape& a, const TensorShape& b) {
    const StoredDtype *first = find_stored_dtype(a.dtype), *second = find_stored_dtype(b.dtype);
    return first != second ? first > second : a.name < b.name;
  });
  const auto twice = std::ranges::adjacent_find(tensors, {}, &TensorShape::name);
  if (twice != tensors.end()) throw Error(ErrorKind::bad_input, "two tensors are named " + twice->name);
  return tensors;
}

int64_t numel(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t side : shape) count *= side;
  return count;
}

std::string make_header(const std::vector<TensorShape>& tensors, const std::map<std::string, std::string>& metadata) {
  std::string header = "{";
  const auto begin_entry = [&header] { header += header.size() > 1 ? "," : ""; };
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    const char* between = "";
    for (const auto& [key, value] : metadata) {
      header += between + quoted(key) + ":" + quoted(value);
      between = ",";
    }
    header += "}";
  }
  int64_t offset = 0;
  for (const TensorShape& tensor : tensors) {
    const StoredDtype& dtype = stored(tensor);
    const int64_t end = offset + numel(tensor.shape) * dtype.size;
    begin_entry();
    header += quoted(tensor.name) + ":{\"dtype\":\"" + std::string(dtype.name) + "\",\"shape\":" + nlohmann::json(tensor.shape).dump() +
              ",\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(end) + "]}";
    offset = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // the tensors begin at a multiple of 8, as in the reference
  return header;
}

std::string length_bytes(const std::string& header) {
  const uint64_t length = header.size();
  return {reinterpret_cast<const char*>(&length), 8};
}

// Room for the hashes: the texts that come later are as long.
std::map<std::string, std::string> with_room(std::map<std::string, std::string> metadata) {
  for (const auto& [key, text] : {std::pair(kModelHash, std::string(64, '0')), std::pair(kLegacyHash, std::string(8, '0')),
                                  std::pair(kSpecHash, "0x" + std::string(64, '0'))})
    if (const auto found = metadata.find(std::string(key)); found != metadata.end()) found->second = text;
  return metadata;
}

}  // namespace

struct SafetensorsWriter::Hashes {
  static constexpr uint64_t kBegin = 0x100000, kEnd = kBegin + 0x10000;
  Sha256 data, legacy;
  uint64_t at = 0;  // in the file as it would be with the ss_ entries alone

  // kohya's sd-scripts, library/train_util.py: precalculate_safetensors_hashes().
  void add_legacy(std::string_view bytes) {
    const uint64_t begin = std::clamp(at, kBegin, kEnd), end = std::clamp(at + bytes.size(), kBegin, kEnd);
    if (begin < end) legacy.add(bytes.substr(begin - at, end - begin));
    at += bytes.size();
  }
};

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorShape> tensors,
                                     std::map<std::string, std::string> metadata, bool fill_hashes)
    : tensors_(in_file_order(std::move(tensors))),
      metadata_(fill_hashes ? with_room(std::move(metadata)) : std::move(metadata)),
      file_(path) {
  const std::string header = make_header(tensors_, metadata_);
  file_.write(length_bytes(header));
  file_.write(header);
  if (!fill_hashes) return;
  hashes_ = std::make_unique<Hashes>();
  std::map<std::string, std::string> training;
  for (const auto& [key, value] : metadata_)
    if (starts_with(key, "ss_")) training[key] = value;
  const std::string reduced = make_header(tensors_, training);
  hashes_->add_legacy(length_bytes(reduced));
  hashes_->add_legacy(reduced);
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::add(std::string_view bytes) {
  if (!hashes_) return file_.write(bytes);
  constexpr size_t kPiece = size_t{16} << 20;  // what is hashed is still in the cache when it is written
  for (size_t at = 0; at < bytes.size(); at += kPiece) {
    const std::string_view piece = bytes.substr(at, kPiece);
    hashes_->data.add(piece);
    hashes_->add_legacy(piece);
    file_.write(piece);
  }
}

void SafetensorsWriter::write(const Tensor& tensor) {
  if (next_ == tensors_.size()) throw Error(ErrorKind::internal, "more tensors than were announced");
  const TensorShape& wanted = tensors_[next_++];
  if (!tensor.defined() || tensor.scalar_type() != wanted.dtype || tensor.sizes() != torch::IntArrayRef(wanted.shape))
    throw Error(ErrorKind::internal, "tensor \"" + wanted.name + "\" is not as announced: " +
                                         (tensor.defined() ? to_string(tensor.scalar_type()) + " " + to_string(tensor.sizes()) : "undefined"));
  const Tensor flat = tensor.detach().cpu().contiguous();
  if (flat.numel() > 0) add({static_cast<const char*>(flat.data_ptr()), static_cast<size_t>(flat.nbytes())});
}

void SafetensorsWriter::commit() {
  if (next_ != tensors_.size()) throw Error(ErrorKind::internal, "tensor \"" + tensors_[next_].name + "\" was not written");
  if (hashes_) {
    const std::string hash = hashes_->data.digits();
    const auto fill = [&](std::string_view key, const std::string& text) {
      if (const auto found = metadata_.find(std::string(key)); found != metadata_.end()) found->second = text;
    };
    fill(kModelHash, hash);
    fill(kSpecHash, "0x" + hash);
    fill(kLegacyHash, hashes_->legacy.digits().substr(0, 8));
    file_.rewrite(8, make_header(tensors_, metadata_));
  }
  file_.commit();
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<TensorShape> shapes;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) throw Error(ErrorKind::internal, "tensor \"" + name + "\" is undefined");
    if (tensor.layout() != torch::kStrided)
      throw Error(ErrorKind::unsupported, "tensor \"" + name + "\" of type " + to_string(tensor.scalar_type()) + " cannot be stored");
    shapes.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
  }
  SafetensorsWriter writer(path, std::move(shapes), metadata);
  for (const TensorShape& shape : writer.tensors()) writer.write(tensors.at(shape.name));
  writer.commit();
}

}  // namespace lorikeet
