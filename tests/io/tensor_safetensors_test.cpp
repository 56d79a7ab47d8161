#include <cstring>

#include "base/text.h"
#include "io/stored_dtype.h"
#include "tensor_test.h"

namespace lorikeet {
namespace {

std::string safetensors(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& data) {
  return safetensors(
      R"({"t":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[0,)" + std::to_string(data.size()) + "]}}", data);
}

template <class Number>
std::string raw(std::initializer_list<Number> numbers) {
  return {reinterpret_cast<const char*>(std::data(numbers)), numbers.size() * sizeof(Number)};
}

Tensor only(const std::string& bytes) { return parse_bytes(bytes)->read("t"); }

}  // namespace

TEST(Safetensors, EveryDtypeReadsItsNumbers) {
  const auto same = [](const Tensor& got, const Tensor& want) {
    return got.scalar_type() == want.scalar_type() && torch::equal(got, want);
  };
  EXPECT_TRUE(same(only(one("F64", "[2]", raw<double>({0.1, -2}))), torch::tensor({0.1, -2.0}, torch::kDouble)));
  EXPECT_TRUE(same(only(one("F32", "[2]", raw<float>({0.1F, -2}))), torch::tensor({0.1F, -2.0F})));
  EXPECT_TRUE(same(only(one("F16", "[2]", raw<uint16_t>({0x3C00, 0xC000}))), torch::tensor({1.0, -2.0}, torch::kHalf)));
  EXPECT_TRUE(same(only(one("BF16", "[2]", raw<uint16_t>({0x3F80, 0xC000}))), torch::tensor({1.0, -2.0}, torch::kBFloat16)));
  EXPECT_TRUE(same(only(one("I64", "[1]", raw<int64_t>({-5}))), torch::tensor({-5}, torch::kLong)));
  EXPECT_TRUE(same(only(one("I32", "[1]", raw<int32_t>({-5}))), torch::tensor({-5}, torch::kInt)));
  EXPECT_TRUE(same(only(one("I16", "[1]", raw<int16_t>({-5}))), torch::tensor({-5}, torch::kShort)));
  EXPECT_TRUE(same(only(one("I8", "[1]", raw<int8_t>({-5}))), torch::tensor({-5}, torch::kChar)));
  EXPECT_TRUE(same(only(one("U8", "[1]", raw<uint8_t>({250}))), torch::tensor({250}, torch::kByte)));
  EXPECT_TRUE(same(only(one("U16", "[1]", raw<uint16_t>({65535}))), torch::tensor({65535}, torch::kLong)));
  EXPECT_TRUE(same(only(one("U32", "[1]", raw<uint32_t>({4294967295U}))), torch::tensor({int64_t{4294967295}}, torch::kLong)));
  EXPECT_TRUE(same(only(one("U64", "[1]", raw<uint64_t>({7}))), torch::tensor({7}, torch::kLong)));
  EXPECT_TRUE(same(only(one("BOOL", "[3]", raw<uint8_t>({0, 1, 2}))), torch::tensor({false, true, true})));
  EXPECT_NE(error_of([] { only(one("U64", "[1]", raw<uint64_t>({~uint64_t{0}}))); }).find("above 9223372036854775807"), std::string::npos);
}

TEST(Safetensors, EveryFloat8IsExact) {
  // The values by the definition in arXiv:2209.05433: (-1)^s 2^(e-bias) (1 + m / 2^bits), without the leading 1 for e = 0.
  const auto same = [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); };
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  const Tensor e4 = only(one("F8_E4M3", "[256]", all)).to(torch::kDouble), e5 = only(one("F8_E5M2", "[256]", all)).to(torch::kDouble);
  for (int i = 0; i < 256; ++i) {
    const double sign = i & 128 ? -1 : 1;
    const int ea = i >> 3 & 15, ma = i & 7, eb = i >> 2 & 31, mb = i & 3;
    const double a = ea ? std::exp2(ea - 7) * (1 + ma / 8.0) : std::exp2(-6) * ma / 8.0;
    const double b = eb ? std::exp2(eb - 15) * (1 + mb / 4.0) : std::exp2(-14) * mb / 4.0;
    const double got_a = e4[i].item<double>(), got_b = e5[i].item<double>();
    EXPECT_PRED2(same, got_a, (i & 127) == 127 ? NAN : sign * a) << i;
    EXPECT_PRED2(same, got_b, eb < 31 ? sign * b : mb == 0 ? sign * INFINITY : NAN) << i;
  }
}

TEST(Safetensors, TensorsAreViewsOfTheFileAndKeepItAlive) {
  const auto path = golden("sd1c/small.expected.safetensors");
  Tensor first, second;
  {
    const auto file = TensorFile::open(path);
    first = file->read("model.diffusion_model.out.0.weight");
    second = file->read("model.diffusion_model.out.0.weight");
  }
  EXPECT_EQ(first.data_ptr(), second.data_ptr());
  EXPECT_TRUE(torch::isfinite(first).all().item<bool>());
}

TEST(Safetensors, MisalignedTensorsAreReadRight) {
  // Real files have a one-byte or two-byte tensor before wider ones.
  const auto file = parse_bytes(
      safetensors(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[1,2],"data_offsets":[1,9]}})",
                  "x" + raw<float>({3, 4})));
  EXPECT_TRUE(torch::equal(file->read("b"), torch::tensor({{3.0F, 4.0F}})));
}

TEST(Safetensors, EmptyAndScalarTensorsAndMetadataAreRead) {
  const auto file = parse_bytes(safetensors(
      R"({"__metadata__":{"ss_tag":"fox \u2603"},"e":{"dtype":"F16","shape":[0,3],"data_offsets":[0,0]},"s":{"dtype":"F16","shape":[],"data_offsets":[0,2]}}   )",
      raw<uint16_t>({0x4200})));
  EXPECT_EQ(file->metadata().at("ss_tag"), "fox ☃");
  EXPECT_EQ(file->read("e").sizes().vec(), (Shape{0, 3}));
  EXPECT_EQ(file->read("s").item<float>(), 3.0F);
  EXPECT_EQ(file->read("s").dim(), 0);
  EXPECT_EQ(parse_bytes(safetensors("{}", ""))->tensors().size(), 0U);
  EXPECT_NE(error_of([&] { file->read("ss"); }).find("did you mean s"), std::string::npos);
}

struct Bad {
  const char* header;
  int data_bytes;
  const char* message;
};

TEST(Safetensors, EachFaultOfAHeaderIsNamed) {
  const Bad cases[] = {
      {"{", 0, "not valid JSON"},
      {R"({"t":{"dtype":"F32","shape":[],"data_offsets":[0,4]}} x)", 4, "not valid JSON"},
      {"{\"\xff\":{}}", 0, "not valid JSON"},
      {R"({"t":7})", 0, "\"t\" is a number"},
      {R"({"t":[]})", 0, "\"t\" is a list"},
      {R"({"t":{}})", 0, "has no dtype"},
      {R"({"t":{"dtype":"F32","data_offsets":[0,4]}})", 4, "has no shape"},
      {R"({"t":{"dtype":"F32","shape":[1]}})", 4, "no pair of data_offsets"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", 4, "no pair of data_offsets"},
      {R"({"t":{"dtype":7,"shape":[1],"data_offsets":[0,4]}})", 4, "is or holds a number"},
      {R"({"t":{"dtype":"F32","shape":"1","data_offsets":[0,4]}})", 4, "is or holds a text"},
      {R"({"t":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4, "is or holds a list"},
      {R"({"t":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "a negative number"},
      {R"({"t":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, "no whole one"},
      {R"({"t":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}})", 4, "out of range"},
      {R"({"t":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}})", 4, "impossible"},
      {R"({"t":{"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}})", 0, "impossible"},
      {R"({"t":{"dtype":"F32","shape":[2305843009213693952],"data_offsets":[0,0]}})", 0, "impossible"},
      {R"({"t":{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}})", 4, "unknown dtype \"Q4\""},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "reversed"},
      {R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "needs 8 bytes, its data_offsets span 4"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 3, "1 bytes are missing"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 5, "1 bytes follow the last tensor"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "a gap of 4 bytes"},
      {R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})", 4, "overlaps"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2, "twice"},
      {R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1, "twice"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"extra":1}})", 1, "unknown field"},
      {R"({"__metadata__":{"a":1}})", 0, "where a text is wanted"},
      {R"({"__metadata__":{"a":{}}})", 0, "where a text is wanted"},
      {R"({"__metadata__":{"a":"1","a":"2"}})", 0, "twice"},
      {R"({"__metadata__":"a"})", 0, "where an object is wanted"},
  };
  for (const auto& bad : cases) {
    const auto text = error_of([&] { parse_bytes(safetensors(bad.header, std::string(static_cast<size_t>(bad.data_bytes), 'x'))); });
    EXPECT_NE(text.find(bad.message), std::string::npos) << bad.header << "\n" << text;
    EXPECT_NE(text.find("some.file"), std::string::npos) << text;
  }
}

TEST(Safetensors, HostileNestingAndLengthsDoNoHarm) {
  EXPECT_NE(error_of([] { parse_bytes(safetensors("{\"t\":" + std::string(1 << 20, '['), "")); }).find("is a list"), std::string::npos);
  std::string deep = "{";
  for (int i = 0; i < 100000; ++i) deep += "\"a\":{";
  EXPECT_NE(error_of([&] { parse_bytes(safetensors(deep, "")); }), "");
  std::string bytes = safetensors("{}", "");
  bytes[6] = 1;
  EXPECT_NE(error_of([&] { parse_bytes(bytes); }).find("more than any real file has"), std::string::npos);
}

TEST(Safetensors, TheReferenceFilesReadAsTheOracleSays) {
  const auto error = [](const char* name) { return error_of([&] { TensorFile::open(golden(std::string("lora/") + name)); }); };
  EXPECT_NE(error("edge_truncated.safetensors").find("bytes are missing"), std::string::npos);
  EXPECT_NE(error("edge_bad_header_len.safetensors").find("header"), std::string::npos);
  EXPECT_NE(error("edge_empty.safetensors").find("is empty"), std::string::npos);
  EXPECT_EQ(TensorFile::open(golden("lora/edge_no_tensors.safetensors"))->tensors().size(), 0U);
  for (const char* name : {"edge_missing_up", "edge_nan_alpha", "edge_shape_mismatch", "edge_unknown_keys"}) {
    const auto file = TensorFile::open(golden(std::string("lora/") + name + ".safetensors"));
    EXPECT_EQ(file->format(), FileFormat::safetensors);
    for (const auto& [key, entry] : file->tensors()) EXPECT_EQ(file->read(key).sizes().vec(), entry.shape) << key;
  }
}

}  // namespace lorikeet
