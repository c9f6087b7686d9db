// The streaming reader of multipart bodies.
#include "mock/multipart.hpp"

#include <algorithm>

#include "mock/request.hpp"

namespace kw::mock {
namespace {

constexpr std::size_t part_limit = 1000;
constexpr std::size_t head_limit = 16384;

std::string parameter(std::string_view in, std::string_view name) {
    const std::string key = std::string(name) + "=";
    std::size_t at = 0;
    while ((at = in.find(key, at)) != std::string_view::npos) {
        // `name=` must not be taken from inside `filename=`.
        if (at == 0 || in[at - 1] == ' ' || in[at - 1] == ';') {
            const auto value = in.substr(at + key.size());
            if (value.starts_with('"')) return std::string(value.substr(1, value.find('"', 1) - 1));
            return std::string(value.substr(0, value.find_first_of("; \r\n")));
        }
        at += key.size();
    }
    return {};
}

}  // namespace

std::string boundary_of(std::string_view content_type) {
    return content_type.starts_with("multipart/") ? parameter(content_type, "boundary")
                                                  : std::string();
}

multipart_reader::multipart_reader(std::string boundary)
    : delimiter_("\r\n--" + std::move(boundary)), pending_("\r\n") {}

multipart_reader::~multipart_reader() = default;

const form_part* multipart_reader::find(std::string_view name) const noexcept {
    const auto it = std::ranges::find(parts_, name, &form_part::name);
    return it == parts_.end() ? nullptr : &*it;
}

const form_part* multipart_reader::first_file() const noexcept {
    const auto it = std::ranges::find(parts_, true, &form_part::is_file);
    return it == parts_.end() ? nullptr : &*it;
}

void multipart_reader::feed(std::string_view bytes) {
    if (state_ == state::end) return;
    pending_.append(bytes);
    while (step()) {
    }
}

void multipart_reader::open_part(std::string_view head) {
    form_part part;
    part.name = parameter(head, "name");
    part.filename = parameter(head, "filename");
    part.is_file = head.find("filename=") != std::string_view::npos;
    if (parts_.size() < part_limit) parts_.push_back(std::move(part));
    hash_ = std::make_unique<hasher>();
}

void multipart_reader::add(std::string_view bytes) {
    form_part& part = parts_.back();
    part.bytes += bytes.size();
    hash_->add(bytes);
    part.content.append(
        bytes.substr(0, std::min(bytes.size(), form_part::keep_bytes - part.content.size())));
}

void multipart_reader::close_part() {
    parts_.back().sha256 = hash_->hex();
}

bool multipart_reader::step() {
    if (state_ == state::end) return false;
    if (state_ == state::head) {
        if (pending_.size() >= 2 && pending_.starts_with("--")) {
            state_ = state::end;
            return false;
        }
        const auto end = pending_.find("\r\n\r\n");
        if (end == std::string::npos) {
            if (pending_.size() > head_limit) state_ = state::end;
            return false;
        }
        open_part(std::string_view(pending_).substr(0, end));
        pending_.erase(0, end + 4);
        state_ = state::body;
        return true;
    }
    const auto at = pending_.find(delimiter_);
    if (at == std::string::npos) {
        const std::size_t keep = std::min(pending_.size(), delimiter_.size() - 1);
        const std::size_t done = pending_.size() - keep;
        if (state_ == state::body) add(std::string_view(pending_).substr(0, done));
        pending_.erase(0, done);
        return false;
    }
    if (state_ == state::body) {
        add(std::string_view(pending_).substr(0, at));
        close_part();
    }
    pending_.erase(0, at + delimiter_.size());
    state_ = state::head;
    return true;
}

}  // namespace kw::mock
