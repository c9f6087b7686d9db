// A map, and a file that only grows until the map is empty: telling the store of an order twice
// changes nothing.
#include "jobs/kept_debts.hpp"

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "core/crypto.hpp"
#include "core/log.hpp"

namespace kw::jobs {
namespace {

constexpr std::size_t at_once = 100;

// One line: how long it is kept, the object's id, the note in hex.
std::string line_of(const store::object_debt& debt) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(debt.note.data());
    return std::to_string(debt.keep.count()) + ' ' + debt.id + ' ' +
           crypto::to_hex({bytes, debt.note.size()}) + '\n';
}

bool read_line(const std::string& line, store::object_debt& to) {
    const std::size_t first = line.find(' ');
    const std::size_t second = line.find(' ', first + 1);
    if (second == std::string::npos || (line.size() - second - 1) % 2 != 0) return false;
    std::int64_t keep = 0;
    const auto [end, failed] = std::from_chars(line.data(), line.data() + first, keep);
    if (failed != std::errc() || end != line.data() + first || keep <= 0) return false;
    to.keep = std::chrono::seconds(keep);
    to.id = line.substr(first + 1, second - first - 1);
    to.note.clear();
    for (std::size_t i = second + 1; i < line.size(); i += 2) {
        unsigned byte = 0;
        const char* at = line.data() + i;
        const auto got = std::from_chars(at, at + 2, byte, 16);
        if (got.ec != std::errc() || got.ptr != at + 2) return false;
        to.note += static_cast<char>(byte);
    }
    return !to.id.empty() && to.id.size() <= store::max_object_id &&
           to.note.size() <= store::max_debt_note;
}

}  // namespace

kept_debts::kept_debts(std::string file, metrics::registry& registry)
    : shelf_(std::make_shared<shelf>()),
      kept_(registry.counter("keywheel_late_orders_kept_total",
                             "Orders of long-lived work that the store could not be told of at "
                             "once.")),
      lost_(registry.counter("keywheel_late_orders_lost_total",
                             "Orders of long-lived work that could not be kept for the store: what "
                             "they cost is not booked.")) {
    shelf_->file = std::move(file);
    shelf_->waiting = &registry.gauge("keywheel_late_orders_waiting",
                                      "Orders of long-lived work that the store has yet to be told "
                                      "of.");
    read();
}

// A last line that was cut off is passed over.
void kept_debts::read() {
    std::ifstream in(shelf_->file);
    std::string line;
    store::object_debt debt;
    while (shelf_->all.size() < most && std::getline(in, line))
        if (read_line(line, debt)) shelf_->all.insert_or_assign(debt.id, debt);
    shelf_->waiting->set(static_cast<double>(shelf_->all.size()));
}

bool kept_debts::keep(const store::object_debt& debt) {
    const std::lock_guard lock(shelf_->mutex);
    bool kept = shelf_->all.size() < most;
    if (kept) {
        std::ofstream out(shelf_->file, std::ios::app | std::ios::binary);
        kept = static_cast<bool>(out << line_of(debt) << std::flush);
    }
    (kept ? kept_ : lost_).add();
    if (!kept) {
        log::event(log::level::error, "late_work.order_lost", {{"object", debt.id}});
        return false;
    }
    shelf_->all.insert_or_assign(debt.id, debt);
    shelf_->waiting->set(static_cast<double>(shelf_->all.size()));
    return true;
}

bool kept_debts::holds(const std::string& id) const {
    const std::lock_guard lock(shelf_->mutex);
    return shelf_->all.contains(id);
}

void kept_debts::tell(store::object_desk& desk, std::chrono::seconds look) {
    std::vector<store::object_debt> some;
    {
        const std::lock_guard lock(shelf_->mutex);
        if (shelf_->telling) return;
        for (const auto& [id, debt] : shelf_->all) {
            if (some.size() == at_once) break;
            some.push_back(debt);
        }
        if (some.empty()) return;
        shelf_->telling = true;
    }
    const bool asked =
        desk.ask([to = shelf_, some = std::move(some), look](store::object_board& board) {
            std::vector<std::string> told;
            for (const auto& debt : some) {
                if (!board.owe(debt, look)) break;
                told.push_back(debt.id);
            }
            to->told(told);
        });
    if (!asked) shelf_->told({});
}

void kept_debts::shelf::told(const std::vector<std::string>& ids) {
    const std::lock_guard lock(mutex);
    telling = false;
    for (const std::string& id : ids)
        all.erase(id);
    waiting->set(static_cast<double>(all.size()));
    if (ids.empty() || !all.empty()) return;
    std::error_code ignored;
    std::filesystem::remove(file, ignored);
}

}  // namespace kw::jobs
