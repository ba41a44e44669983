"""The plans made last, so that a specification that did not change is not planned again and again.

Invariant: a plan depends on the accepted resource, the installation and what is known of the cluster, and on
nothing else; so the same plan is given for the same of these, and nothing ever has to be invalidated.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256

from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.plan.cluster import UNSEEN, ClusterFacts
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.plan.planner import plan

MOST = 1024
"""Plans to keep, of about 30 kB each."""


@dataclass
class Plans:
    """Plans deployments, and keeps the plans that were asked for last.

    Attributes:
        installation: settings of the operator's installation.
        most: plans to keep.
    """

    installation: Installation
    most: int = MOST
    _known: OrderedDict[bytes, Plan] = field(default_factory=OrderedDict)

    def plan(self, deployment: DisaggDeployment, cluster: ClusterFacts = UNSEEN) -> Plan:
        """Plan a deployment; see `plan.planner.plan`. A refusal is not kept.

        Raises:
            Refusal: the specification cannot be planned.
        """
        # Whether a value was written matters, even where it is the default.
        told = f"{deployment.model_dump_json(exclude_unset=True)}{cluster!r}"
        key = sha256(told.encode(errors="surrogatepass")).digest()
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = plan(deployment, self.installation, cluster)
            if len(self._known) > self.most:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return known
