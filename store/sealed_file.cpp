// The first line holds a mark of the file, the owner's head and the number of lines.
#include "store/sealed_file.hpp"

#include <array>
#include <cerrno>

#include "store/binary.hpp"
#include "store/file.hpp"

namespace kw::store {
namespace {

error damaged(const std::string& path, std::string_view why) {
    return error(errc::invalid_argument, path + ": " + std::string(why), error_source::store);
}

std::string place(const std::string& label, std::uint64_t line) {
    return label + " line " + std::to_string(line);
}

}  // namespace

sealed_file_writer::sealed_file_writer(file_replacement out, const crypto::sealer& sealer,
                                       std::string label, std::string head)
    : out_(std::move(out)), sealer_(&sealer), label_(std::move(label)), head_(std::move(head)) {
    std::array<std::uint8_t, 16> salt{};
    crypto::random_bytes(salt);
    mark_ = crypto::to_hex(salt);
    out_.append(first_line());  // its place is kept until the number of lines is known
}

result<sealed_file_writer> sealed_file_writer::begin(const std::string& path,
                                                     const crypto::sealer& sealer,
                                                     std::string label, std::string head) {
    auto out = file_replacement::begin(path);
    if (!out) return out.error();
    return sealed_file_writer(std::move(*out), sealer, std::move(label), std::move(head));
}

std::string sealed_file_writer::first_line() const {
    std::string text;
    put_text(text, mark_);
    text += head_;
    put_u64(text, count_);
    return sealer_->seal(secret(std::move(text)), place(label_, 0)) + '\n';
}

void sealed_file_writer::add(std::string run) {
    ++count_;
    out_.append(sealer_->seal(secret(std::move(run)), mark_ + place(label_, count_)) + '\n');
}

result<void> sealed_file_writer::commit() {
    out_.begin_with(first_line());
    return out_.commit();
}

result<sealed_file_reader> sealed_file_reader::open(const std::string& path,
                                                    const crypto::sealer& sealer,
                                                    std::string label) {
    sealed_file_reader r(path, sealer, std::move(label));
    r.in_.open(path, std::ios::binary);
    if (!r.in_) {
        const int code = errno;
        if (code == ENOENT)
            return error(errc::store_not_found, "there is no " + path, error_source::store);
        return damaged(path, errno_text(code));
    }
    const auto first = r.line();
    const auto by = crypto::sealed_by(first);
    if (by.empty()) return damaged(path, "it is no sealed file of keywheel's");
    if (!sealer.knows(by))
        return damaged(path, "it is sealed with the encryption key " + std::string(by) +
                                 ", another encryption key than those at hand");
    const auto head = sealer.open(first, place(r.label_, 0));
    if (!head) return damaged(path, "it is damaged, or a file of another kind");
    std::string_view fields = head->reveal();
    if (!take_text(fields, r.mark_) || fields.size() < sizeof r.count_)
        return damaged(path, "its head is not ours");
    r.head_.assign(fields.substr(0, fields.size() - sizeof r.count_));
    fields.remove_prefix(r.head_.size());
    static_cast<void>(take_u64(fields, r.count_));
    return r;
}

std::string_view sealed_file_reader::line() {
    return std::getline(in_, line_) ? std::string_view(line_) : std::string_view();
}

result<bool> sealed_file_reader::next(std::string& run) {
    if (read_ == count_) return false;
    ++read_;
    const auto opened = sealer_->open(line(), mark_ + place(label_, read_));
    if (!opened) return damaged(path_, "it is damaged or cut short");
    run.assign(opened->reveal());
    return true;
}

}  // namespace kw::store
