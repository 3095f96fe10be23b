# SPDX-License-Identifier: Apache-2.0
"""The comparison with nvidia-smi, on a short XML of its shape and the simulated card."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.core.gpu.reading import Gpu
from tests.given.nvml_reader import Reader
from tests.gpu.smi_xml import ROWS, cards, differences
from tests.rig.nvml.state_file import uuid_of
from tests.rig.nvsim import HostGpus

XML = f"""\
<nvidia_smi_log><gpu id="00000000:01:00.0">
<product_name>NVIDIA GeForce RTX 4090</product_name><uuid>{uuid_of(0)}</uuid>
<serial>1321122041234</serial><vbios_version>95.02.18.80.01</vbios_version>
<pci><pci_bus_id>00000000:01:00.0</pci_bus_id><pci_gpu_link_info>
<pcie_gen><max_link_gen>4</max_link_gen></pcie_gen>
<link_widths><max_link_width>16x</max_link_width></link_widths></pci_gpu_link_info></pci>
<performance_state>P8</performance_state><persistence_mode>Disabled</persistence_mode>
<ecc_mode><current_ecc>Disabled</current_ecc></ecc_mode>
<mig_mode><current_mig>N/A</current_mig></mig_mode><fan_speed>0 %</fan_speed>
<temperature><gpu_temp>42 C</gpu_temp><gpu_temp_tlimit>41 C</gpu_temp_tlimit>
<memory_temp>N/A</memory_temp></temperature>
<gpu_power_readings><average_power_draw>21.50 W</average_power_draw>
<current_power_limit>450.00 W</current_power_limit>
<requested_power_limit>450.00 W</requested_power_limit>
<default_power_limit>450.00 W</default_power_limit>
<min_power_limit>150.00 W</min_power_limit><max_power_limit>600.00 W</max_power_limit>
</gpu_power_readings>
<fb_memory_usage><total>24564 MiB</total><reserved>354 MiB</reserved><used>1 MiB</used>
</fb_memory_usage><utilization><gpu_util>0 %</gpu_util></utilization>
<clocks><sm_clock>210 MHz</sm_clock><mem_clock>405 MHz</mem_clock></clocks>
<max_clocks><sm_clock>3105 MHz</sm_clock><mem_clock>10501 MHz</mem_clock></max_clocks>
</gpu></nvidia_smi_log>
"""


@pytest.fixture
def card(gpus: HostGpus) -> Gpu:
    gpus.state.create("rtx4090")
    reader = Reader(gpus)
    reader.open()
    (gpu,) = reader.look().gpus
    reader.end()
    return gpu


def test_the_same_card_does_not_differ(card: Gpu) -> None:
    assert list(differences(card, cards(XML)[card.uuid])) == []


def test_each_quantity_that_is_missing_or_wrong_is_told(card: Gpu) -> None:
    stranger = Gpu(0, "GPU-other")
    told = list(differences(stranger, cards(XML)[card.uuid]))
    absent = {"mig", "memory temperature"}
    assert [line.partition(":")[0] for line in told] == [
        row.name for row in ROWS if row.name not in absent
    ]
    hot = replace(card, temperature_celsius=60.0)
    assert list(differences(hot, cards(XML)[card.uuid])) == [
        "temperature: nvidia-smi 42.0, llmagent 60.0"
    ]
